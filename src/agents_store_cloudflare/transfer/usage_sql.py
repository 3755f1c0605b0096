"""The SQL that stores a session's usage when the session becomes visible: the entries, then totals counted from them.

The session's share in the totals of days is subtracted first and added last, so the result is right whichever entries were stored
before.
"""

from __future__ import annotations

from typing import LiteralString

from agents_store_cloudflare.state.numbering import first_key, last_key
from agents_store_cloudflare.usage.amounts_sql import amounts_added
from agents_store_cloudflare.usage.deletion_sql import DELETE_SESSION

__all__ = ["COUNT_ENTRIES", "DELETE_STAGED", "FORGET_TOTALS", "INSERT_STAGED", "REPLACED", "SELECT_MARK"]

# ?1 session id. Deletes the entries, the totals and the share of days, as `usage_store.delete` does.
REPLACED: tuple[LiteralString, ...] = DELETE_SESSION

# ?1 session id. Deletes the totals of stored entries. The entries stay. The first two statements subtract the session's share of
# days.
FORGET_TOTALS: tuple[LiteralString, ...] = (
    *DELETE_SESSION[:2],
    """
    DELETE FROM __agents_usage_by_session
    WHERE session_id = ?1
      AND kept = 0
    """,
    """
    DELETE FROM __agents_usage_sub_sessions
    WHERE session_id = ?1
      AND kept = 0
    """,
)

# ?1 the second number of the import. Its texts are JSON lists of rows. An entry whose id is stored already stays unchanged. Primary
# key.
INSERT_STAGED: LiteralString = f"""
    INSERT INTO __agents_usage (id, session_id, kind, step_count, timestamp, source_type, source_name, data, created_at)
    SELECT
      r.value ->> 'id', r.value ->> 'session_id', r.value ->> 'kind', r.value ->> 'step_count', r.value ->> 'timestamp',
      r.value ->> 'source_type', r.value ->> 'source_name', r.value ->> 'data', r.value ->> 'created_at'
    FROM __agents_message_blocks AS staged
    JOIN json_each(staged.body) AS r
    WHERE staged.id BETWEEN {first_key("?1")} + 1 AND {last_key("?1")}
    ORDER BY staged.id, r.key
    ON CONFLICT (id) DO NOTHING
"""

# ?1 the second number of the import. Primary key.
DELETE_STAGED: LiteralString = f"""
    DELETE FROM __agents_message_blocks
    WHERE id BETWEEN {first_key("?1")} AND {last_key("?1")}
"""

# ?1 session id. Counts the totals of its entries, and its share of days with the share of deleted entries. Index on session_id.
COUNT_ENTRIES: tuple[LiteralString, ...] = (
    """
    INSERT INTO __agents_usage_by_session (session_id, kept, kind, name, first_timestamp, last_timestamp, amounts)
    WITH counted AS (
      SELECT
        p.session_id, p.kind, p.name, min(p.timestamp) AS first_timestamp, max(p.timestamp) AS last_timestamp,
        part.key AS counter, sum(part.value) AS total
      FROM __agents_usage_parts AS p
      JOIN json_each(p.amounts) AS part
      WHERE p.session_id = ?1
      GROUP BY p.kind, p.name, part.key
    )
    SELECT session_id, 0, kind, name, min(first_timestamp), max(last_timestamp), json_group_object(counter, total)
    FROM counted
    WHERE total <> 0
    GROUP BY kind, name
    """,
    """
    INSERT INTO __agents_usage_sub_sessions (session_id, kept, sub_session_id)
    SELECT DISTINCT session_id, 0, sub_session_id
    FROM __agents_usage_parts
    WHERE session_id = ?1
      AND sub_session_id IS NOT NULL
    """,
    """
    INSERT INTO __agents_usage_by_day (day, kept, kind, name, agent, amounts)
    WITH counted AS (
      SELECT day, kept, kind, name, agent, counter, sum(amount) AS total
      FROM (
        SELECT p.day, 0 AS kept, p.kind, p.name, p.agent, part.key AS counter, part.value AS amount
        FROM __agents_usage_parts AS p
        JOIN json_each(p.amounts) AS part
        WHERE p.session_id = ?1
        UNION ALL
        SELECT k.day, 1 AS kept, k.kind, k.name, k.agent, part.key AS counter, part.value AS amount
        FROM __agents_usage_kept AS k
        JOIN json_each(k.amounts) AS part
        WHERE k.session_id = ?1
      )
      GROUP BY day, kept, kind, name, agent, counter
    )
    SELECT day, kept, kind, name, agent, json_group_object(counter, total)
    FROM counted
    WHERE total <> 0
    GROUP BY day, kept, kind, name, agent
    ON CONFLICT (day, kept, kind, name, agent) DO UPDATE SET
    """
    + amounts_added("__agents_usage_by_day"),
)

# ?1 session id -> (its totals as one text, the key of its newest entry). Each change of the session's usage changes one of them, because
# entries count in the totals. Primary key of the totals; index on session_id, backwards: one row.
SELECT_MARK: LiteralString = """
    SELECT
      (
        SELECT group_concat(line, char(10))
        FROM (
          SELECT
            quote(kept) || quote(kind) || quote(name) || quote(first_timestamp) || quote(last_timestamp) || quote(amounts) AS line
          FROM __agents_usage_by_session
          WHERE session_id = ?1
          ORDER BY kept, kind, name
        )
      ) AS totals,
      (
        SELECT rowid
        FROM __agents_usage
        WHERE session_id = ?1
        ORDER BY session_id DESC, rowid DESC
        LIMIT 1
      ) AS newest
"""
