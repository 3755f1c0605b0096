"""The console's lists for sessions in homes. They read the directory of D1, which has fewer facts, in the same columns.

The parameters and the bound on rows are those of `listing_sql`. A deleted session stays in the directory for a while: its row is
read and does not match.
"""

from __future__ import annotations

from typing import LiteralString

__all__ = ["LIST_CHILDREN", "LIST_EXPIRED", "LIST_NEWEST", "LIST_PREFIXED", "LIST_TURNS"]

# The columns of `listing.SessionSummary`; NULL means that the directory does not have the fact.
_SUMMARY: LiteralString = """json_array(
        d.session_id, d.agent_type, d.status, d.step_count, d.version, d.message_count, NULL, NULL,
        NULL, NULL, d.parent_session_id, d.root_session_id, NULL, d.created_at, d.updated_at,
        d.expires_at, 0, NULL, d.turn_since, NULL, json('[]')
      )"""

# The parameters of `listing_sql`; ?8 needs a fact that the directory does not have, so with it no row matches.
_FITS: LiteralString = """d.deleted = 0
        AND (?3 IS NULL OR d.agent_type = ?3)
        AND (?4 IS NULL OR d.status = ?4)
        AND (?5 IS NULL OR d.parent_session_id = ?5)
        AND (?6 IS NULL OR (d.session_id >= ?6 AND d.session_id < ?7))
        AND ?8 = 0
        AND (?9 = 0 OR d.turn_since IS NOT NULL)
        AND (?10 IS NULL OR d.expires_at <= ?10)"""

_LIST: LiteralString = f"""
    SELECT
      {{first}} AS first_place,
      {{second}} AS second_place,
      CASE WHEN {_FITS} THEN {_SUMMARY} END AS facts
    FROM __agents_directory AS d {{index}}
    WHERE {{behind}}
    ORDER BY {{order}}
    LIMIT ?11
"""

# The newest first. Index of places.
LIST_NEWEST: LiteralString = (
    _LIST.replace("{first}", "d.place")
    .replace("{second}", "0")
    .replace("{index}", "INDEXED BY idx___agents_directory_place")
    .replace("{behind}", "d.place < ?1 AND ?2 IS NOT NULL")
    .replace("{order}", "d.place DESC")
)

# By id, from ?1 on. Primary key.
LIST_PREFIXED: LiteralString = (
    _LIST.replace("{first}", "d.session_id")
    .replace("{second}", "0")
    .replace("{index}", "")
    .replace("{behind}", "d.session_id >= ?1 AND d.session_id < ?7 AND ?2 IS NOT NULL")
    .replace("{order}", "d.session_id")
)

# By id. Index of parents.
LIST_CHILDREN: LiteralString = (
    _LIST.replace("{first}", "d.session_id")
    .replace("{second}", "0")
    .replace("{index}", "INDEXED BY idx___agents_directory_parent")
    .replace("{behind}", "d.parent_session_id = ?5 AND d.session_id >= ?1 AND ?2 IS NOT NULL")
    .replace("{order}", "d.session_id")
)

# The oldest first. Partial index of turns.
LIST_TURNS: LiteralString = (
    _LIST.replace("{first}", "d.turn_since")
    .replace("{second}", "d.session_id")
    .replace("{index}", "INDEXED BY idx___agents_directory_turns")
    .replace("{behind}", "d.turn_since IS NOT NULL AND d.turn_since >= ?1 AND (d.turn_since > ?1 OR d.session_id > ?2)")
    .replace("{order}", "d.turn_since, d.session_id")
)

# The longest ago first. Partial index of expiries.
LIST_EXPIRED: LiteralString = (
    _LIST.replace("{first}", "d.expires_at")
    .replace("{second}", "d.session_id")
    .replace("{index}", "INDEXED BY idx___agents_directory_expires_at")
    .replace(
        "{behind}",
        "d.expires_at IS NOT NULL AND d.expires_at <= ?10 AND d.expires_at >= ?1 AND (d.expires_at > ?1 OR d.session_id > ?2)",
    )
    .replace("{order}", "d.expires_at, d.session_id")
)
