"""The SQL of the console's lists. Each statement reads a bounded number of rows.

A filtered list looks at a limited number of rows. It returns the position of each of these rows, and the facts of the rows that
match. So the list continues after the last row that it looked at, even if no row matched.
"""

from __future__ import annotations

from typing import LiteralString

__all__ = [
    "LIST_CHILDREN",
    "LIST_EXPIRED",
    "LIST_NEWEST",
    "LIST_PREFIXED",
    "LIST_TURNS",
    "MODEL_COSTS",
    "SELECT_SUMMARY",
    "SELECT_TREE",
]


def _text(column: LiteralString) -> LiteralString:
    """Return the SQL of a text. Bytes, which JSON cannot hold and which only another program writes, become a number."""
    return f"CASE typeof({column}) WHEN 'blob' THEN 0 ELSE {column} END"


def _number(column: LiteralString) -> LiteralString:
    """Return the SQL of a number. Bytes become a text."""
    return f"CASE typeof({column}) WHEN 'blob' THEN '' ELSE {column} END"


def _json(column: LiteralString) -> LiteralString:
    """Return the SQL of JSON. A value that is no JSON becomes `false`."""
    return f"json(CASE WHEN json_valid({column}) THEN {column} WHEN {column} IS NOT NULL THEN 'false' END)"


# The columns of `listing.SessionSummary`, as one JSON text. A value of the wrong kind stays of a wrong kind.
_SUMMARY: LiteralString = f"""json_array(
        s.session_id, {_text("s.agent_type")}, {_text("s.status")}, {_number("s.step_count")}, {_number("s.version")},
        {_number("s.message_count")}, {_number("s.checkpoint_count")}, {_number("s.staged_count")}, {_number("s.run_count")},
        {_number("s.open_run_count")}, {_text("s.parent_session_id")}, {_text("s.root_session_id")}, {_text("s.stream_id")},
        {_number("s.created_at")}, {_number("s.updated_at")}, {_number("s.expires_at")}, {_number("s.aborted")},
        substr({_text("s.error")}, 1, 500), {_number("s.turn_since")}, {_json("s.open_turn")}, {_json("s.owed_closings")}
      )"""

# ?3 agent type or NULL, ?4 status or NULL, ?5 parent or NULL, ?6 prefix or NULL, ?7 the first text after all texts with that
# prefix, ?8 1 for sessions with an open run, ?9 1 for sessions with an open turn, ?10 a time, for sessions that are expired at it,
# or NULL
_FITS: LiteralString = """(?3 IS NULL OR s.agent_type = ?3)
        AND (?4 IS NULL OR s.status = ?4)
        AND (?5 IS NULL OR s.parent_session_id = ?5)
        AND (?6 IS NULL OR (s.session_id >= ?6 AND s.session_id < ?7))
        AND (?8 = 0 OR s.open_run_count > 0)
        AND (?9 = 0 OR s.open_turn IS NOT NULL)
        AND (?10 IS NULL OR s.expires_at <= ?10)"""

# ?1, ?2 the position after which the list continues, ?3 … ?10 as above, ?11 most rows -> (position, its second part, facts as JSON
# or NULL if the session does not match)
_LIST: LiteralString = f"""
    SELECT
      {{first}} AS first_place,
      {{second}} AS second_place,
      CASE WHEN {_FITS} THEN {_SUMMARY} END AS facts
    FROM __agents_states AS s {{index}}
    WHERE {{behind}}
    ORDER BY {{order}}
    LIMIT ?11
"""

# The newest first. Index of session_no.
LIST_NEWEST: LiteralString = (
    _LIST.replace("{first}", "s.session_no")
    .replace("{second}", "0")
    .replace("{index}", "")
    .replace("{behind}", "s.session_no < ?1 AND ?2 IS NOT NULL")
    .replace("{order}", "s.session_no DESC")
)

# By id, from ?1 on. Primary key. It has only one lower bound, because with two bounds SQLite may start at the lower one.
LIST_PREFIXED: LiteralString = (
    _LIST.replace("{first}", "s.session_id")
    .replace("{second}", "0")
    .replace("{index}", "")
    .replace("{behind}", "s.session_id >= ?1 AND s.session_id < ?7 AND ?2 IS NOT NULL")
    .replace("{order}", "s.session_id")
)

# The newest first. Index of parents.
LIST_CHILDREN: LiteralString = (
    _LIST.replace("{first}", "s.rowid")
    .replace("{second}", "0")
    .replace("{index}", "INDEXED BY idx___agents_states_parent")
    .replace("{behind}", "s.parent_session_id = ?5 AND s.rowid < ?1 AND ?2 IS NOT NULL")
    .replace("{order}", "s.rowid DESC")
)

# The oldest first. Partial index of turns. A session stays in this index after its turn, until the sweep or the next turn.
LIST_TURNS: LiteralString = (
    _LIST.replace("{first}", "s.turn_since")
    .replace("{second}", "s.rowid")
    .replace("{index}", "INDEXED BY idx___agents_states_turns")
    .replace("{behind}", "s.turn_since IS NOT NULL AND s.turn_since >= ?1 AND (s.turn_since > ?1 OR s.rowid > ?2)")
    .replace("{order}", "s.turn_since, s.rowid")
)

# Expired sessions, the earliest expiry first. Partial index of expiries.
LIST_EXPIRED: LiteralString = (
    _LIST.replace("{first}", "s.expires_at")
    .replace("{second}", "s.rowid")
    .replace("{index}", "INDEXED BY idx___agents_states_expires_at")
    .replace(
        "{behind}",
        "s.expires_at IS NOT NULL AND s.expires_at <= ?10 AND s.expires_at >= ?1 AND (s.expires_at > ?1 OR s.rowid > ?2)",
    )
    .replace("{order}", "s.expires_at, s.rowid")
)

# ?1 session id -> (facts as JSON), or no row. Primary key.
SELECT_SUMMARY: LiteralString = f"""
    SELECT {_SUMMARY} AS facts
    FROM __agents_states AS s
    WHERE s.session_id = ?1
"""

# ?1 session id, ?2 most sessions -> (depth, facts as JSON) of its descendants, depth first. Depth 20 ends a cycle. Index of parents.
SELECT_TREE: LiteralString = f"""
    WITH RECURSIVE tree (id, depth) AS (
      SELECT child.session_id, 1
      FROM __agents_states AS child
      WHERE child.parent_session_id = ?1
      UNION
      SELECT child.session_id, tree.depth + 1
      FROM tree
      JOIN __agents_states AS child ON child.parent_session_id = tree.id
      WHERE tree.depth < 20
      ORDER BY 2 DESC
      LIMIT ?2
    )
    SELECT tree.depth, {_SUMMARY} AS facts
    FROM tree
    CROSS JOIN __agents_states AS s ON s.session_id = tree.id
"""

# ?1 most rows, ?2 … ?16 session ids or NULL -> (place, amounts) of their models. Primary key of the totals: two rows for a session
# with one model, and one more for each other model. VALUES reads no rows. json_each would count as rows.
MODEL_COSTS: LiteralString = """
    SELECT given.column1 AS place, total.amounts
    FROM (VALUES
      (0, ?2), (1, ?3), (2, ?4), (3, ?5), (4, ?6), (5, ?7), (6, ?8), (7, ?9),
      (8, ?10), (9, ?11), (10, ?12), (11, ?13), (12, ?14), (13, ?15), (14, ?16)
    ) AS given
    CROSS JOIN __agents_usage_by_session AS total
      ON total.session_id = given.column2 AND total.kept = 0 AND total.kind = 'tokens'
    LIMIT ?1
"""
