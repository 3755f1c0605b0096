"""The SQL that deletes entries and their share of the totals.

For the totals of a session, its remaining entries are counted anew, because subtraction cannot find the time of the first entry.
For the totals of a day, the share of the session is subtracted.
"""

from __future__ import annotations

from typing import LiteralString

from agents_store_cloudflare.usage.amounts_sql import amounts_added, readable

__all__ = [
    "CLEAR_TOTALS",
    "COUNT_OLD",
    "COUNT_WITHOUT_OLD",
    "DELETE_OLD",
    "DELETE_OLD_COMMITS",
    "DELETE_SESSION",
    "FENCE_GUARD",
    "KEEP_TOTALS",
    "deletion_of",
    "remember_deletion",
]


# ?1 session id, ?2 fencing token: aborts the batch when a higher token has been seen for the session; writes nothing -> no row. Primary
# key.
FENCE_GUARD: LiteralString = """
    SELECT json_extract('{}', 'agents-store ' || json_object('fault', 'fence', 'session_id', session_id, 'token', token)) AS verdict
    FROM __agents_fences
    WHERE session_id = ?1
      AND token > ?2
"""

# After a CTE `tree (session_id)`: the sessions to delete.
_SUBTRACT_DAYS: LiteralString = (
    """
    UPDATE __agents_usage_by_day
    SET
    """
    + amounts_added("__agents_usage_by_day", "gone.amounts", sign="-")
    + """
    FROM (
      SELECT day, kept, kind, name, agent, json_group_object(counter, total) AS amounts
      FROM (
        SELECT day, kept, kind, name, agent, counter, sum(amount) AS total
        FROM (
          SELECT p.day, 0 AS kept, p.kind, p.name, p.agent, part.key AS counter, part.value AS amount
          FROM __agents_usage_parts AS p
          JOIN json_each(p.amounts) AS part
          WHERE p.session_id IN (SELECT session_id FROM tree)
          UNION ALL
          SELECT k.day, 1 AS kept, k.kind, k.name, k.agent, part.key AS counter, part.value AS amount
          FROM __agents_usage_kept AS k
          JOIN json_each("""
    + readable("k.amounts")
    + """) AS part
          WHERE k.session_id IN (SELECT session_id FROM tree)
        )
        GROUP BY day, kept, kind, name, agent, counter
      )
      GROUP BY day, kept, kind, name, agent
    ) AS gone
    WHERE __agents_usage_by_day.day = gone.day
      AND __agents_usage_by_day.kept = gone.kept
      AND __agents_usage_by_day.kind = gone.kind
      AND __agents_usage_by_day.name = gone.name
      AND __agents_usage_by_day.agent = gone.agent
"""
)
_DELETE_EMPTY_DAYS: LiteralString = f"""
    DELETE FROM __agents_usage_by_day
    WHERE day IN (
        SELECT CAST(timestamp AS INTEGER) / 86400000 FROM __agents_usage WHERE session_id IN (SELECT session_id FROM tree)
        UNION ALL
        SELECT day FROM __agents_usage_kept WHERE session_id IN (SELECT session_id FROM tree)
      )
      AND {readable("amounts", "json_object('entries', 1)")} ->> '$.entries' IS NULL
"""
_DELETE_KEPT: LiteralString = """
    DELETE FROM __agents_usage_kept
    WHERE session_id IN (SELECT session_id FROM tree)
"""
_DELETE_TOTALS: LiteralString = """
    DELETE FROM __agents_usage_by_session
    WHERE session_id IN (SELECT session_id FROM tree)
"""
_DELETE_SUB_SESSIONS: LiteralString = """
    DELETE FROM __agents_usage_sub_sessions
    WHERE session_id IN (SELECT session_id FROM tree)
"""
_DELETE_ENTRIES: LiteralString = """
    DELETE FROM __agents_usage
    WHERE session_id IN (SELECT session_id FROM tree)
    RETURNING 1 AS deleted
"""

# In one batch, in this order. The last statement returns a row for each deleted entry.
_OF_TREE = (_SUBTRACT_DAYS, _DELETE_EMPTY_DAYS, _DELETE_KEPT, _DELETE_TOTALS, _DELETE_SUB_SESSIONS, _DELETE_ENTRIES)


def deletion_of(tree: LiteralString) -> tuple[LiteralString, ...]:
    """Return the statements that delete the usage of sessions in one batch.

    Args:
        tree: a WITH clause that gives the sessions as `tree (session_id)`.
    """
    return tuple([tree + each for each in _OF_TREE])


# ?1 session id. Indexes on session_id, primary keys.
DELETE_SESSION: tuple[LiteralString, ...] = deletion_of("WITH tree (session_id) AS (SELECT ?1)")

# ?1 timestamp. Moves the share of strictly older entries to the totals that stay (kept = 1), which count it separately. It also keeps the
# share by session and day in __agents_usage_kept, so that a later deletion of the session can subtract it. Index on timestamp.
KEEP_TOTALS: tuple[LiteralString, ...] = (
    """
    INSERT INTO __agents_usage_by_session (session_id, kept, kind, name, first_timestamp, last_timestamp, amounts)
    WITH counted AS (
      SELECT
        p.session_id, p.kind, p.name, min(p.time) AS first_timestamp, max(p.time) AS last_timestamp,
        part.key AS counter, sum(part.value) AS total
      FROM __agents_usage_parts AS p
      JOIN json_each(json_set(p.amounts, '$.kept', 1)) AS part
      WHERE p.timestamp < ?1
      GROUP BY +p.session_id, p.kind, p.name, part.key
    )
    SELECT session_id, 1, kind, name, min(first_timestamp), max(last_timestamp), json_group_object(counter, total)
    FROM counted
    WHERE total <> 0
    GROUP BY session_id, kind, name
    ON CONFLICT (session_id, kept, kind, name) DO UPDATE SET
      first_timestamp = min(first_timestamp, excluded.first_timestamp),
      last_timestamp = max(last_timestamp, excluded.last_timestamp),
    """
    + amounts_added("__agents_usage_by_session"),
    """
    INSERT INTO __agents_usage_by_day (day, kept, kind, name, agent, amounts)
    WITH counted AS (
      SELECT p.day, p.kind, p.name, p.agent, part.key AS counter, sum(part.value) AS total
      FROM __agents_usage_parts AS p
      JOIN json_each(json_set(p.amounts, '$.kept', 1)) AS part
      WHERE p.timestamp < ?1
      GROUP BY p.day, p.kind, p.name, p.agent, part.key
    )
    SELECT day, 1, kind, name, agent, json_group_object(counter, total)
    FROM counted
    WHERE total <> 0
    GROUP BY day, kind, name, agent
    ON CONFLICT (day, kept, kind, name, agent) DO UPDATE SET
    """
    + amounts_added("__agents_usage_by_day"),
    """
    INSERT INTO __agents_usage_kept (session_id, day, kind, name, agent, amounts)
    WITH counted AS (
      SELECT p.session_id, p.day, p.kind, p.name, p.agent, part.key AS counter, sum(part.value) AS total
      FROM __agents_usage_parts AS p
      JOIN json_each(json_set(p.amounts, '$.kept', 1)) AS part
      WHERE p.timestamp < ?1
      GROUP BY +p.session_id, p.day, p.kind, p.name, p.agent, part.key
    )
    SELECT session_id, day, kind, name, agent, json_group_object(counter, total)
    FROM counted
    WHERE total <> 0
    GROUP BY session_id, day, kind, name, agent
    ON CONFLICT (session_id, day, kind, name, agent) DO UPDATE SET
    """
    + amounts_added("__agents_usage_kept"),
    """
    INSERT INTO __agents_usage_sub_sessions (session_id, kept, sub_session_id)
    SELECT session_id, 1, sub_session_id
    FROM __agents_usage_parts
    WHERE timestamp < ?1
      AND sub_session_id IS NOT NULL
    ON CONFLICT DO NOTHING
    """,
)

# ?1 timestamp. Counts the totals of sessions and days with strictly older entries, without these entries. Indexes on timestamp and
# session_id.
COUNT_WITHOUT_OLD: tuple[LiteralString, ...] = (
    """
    DELETE FROM __agents_usage_by_session
    WHERE session_id IN (SELECT session_id FROM __agents_usage WHERE timestamp < ?1)
      AND kept = 0
    """,
    """
    INSERT INTO __agents_usage_by_session (session_id, kept, kind, name, first_timestamp, last_timestamp, amounts)
    WITH counted AS (
      SELECT
        p.session_id, p.kind, p.name, min(p.time) AS first_timestamp, max(p.time) AS last_timestamp,
        part.key AS counter, sum(part.value) AS total
      FROM __agents_usage_parts AS p
      JOIN json_each(p.amounts) AS part
      WHERE p.session_id IN (SELECT session_id FROM __agents_usage WHERE timestamp < ?1)
        AND +p.timestamp >= ?1
      GROUP BY p.session_id, p.kind, p.name, part.key
    )
    SELECT session_id, 0, kind, name, min(first_timestamp), max(last_timestamp), json_group_object(counter, total)
    FROM counted
    WHERE total <> 0
    GROUP BY session_id, kind, name
    """,
    """
    DELETE FROM __agents_usage_sub_sessions
    WHERE session_id IN (SELECT session_id FROM __agents_usage WHERE timestamp < ?1)
      AND kept = 0
    """,
    """
    INSERT INTO __agents_usage_sub_sessions (session_id, kept, sub_session_id)
    SELECT DISTINCT session_id, 0, sub_session_id
    FROM __agents_usage_parts
    WHERE session_id IN (SELECT session_id FROM __agents_usage WHERE timestamp < ?1)
      AND +timestamp >= ?1
      AND sub_session_id IS NOT NULL
    """,
    """
    DELETE FROM __agents_usage_by_day
    WHERE day <= CAST(?1 AS INTEGER) / 86400000
      AND kept = 0
    """,
    """
    INSERT INTO __agents_usage_by_day (day, kept, kind, name, agent, amounts)
    WITH counted AS (
      SELECT p.day, p.kind, p.name, p.agent, part.key AS counter, sum(part.value) AS total
      FROM __agents_usage_parts AS p
      JOIN json_each(p.amounts) AS part
      WHERE p.timestamp >= ?1
        AND p.timestamp < (CAST(?1 AS INTEGER) / 86400000 + 1) * 86400000
      GROUP BY p.day, p.kind, p.name, p.agent, part.key
    )
    SELECT day, 0, kind, name, agent, json_group_object(counter, total)
    FROM counted
    WHERE total <> 0
    GROUP BY day, kind, name, agent
    """,
)

# ?1 time. Forgets the commit ids of calls before it. Reads the whole table: for an operator's call.
DELETE_OLD_COMMITS: LiteralString = """
    DELETE FROM __agents_usage_commits
    WHERE recorded_at < ?1
"""

# ?1 timestamp -> (number of strictly older entries). Index on timestamp.
COUNT_OLD: LiteralString = """
    SELECT count(*) AS entries
    FROM __agents_usage
    WHERE timestamp < ?1
"""

# ?1 timestamp. Deletes strictly older entries -> a row for each. Index on timestamp.
DELETE_OLD: LiteralString = """
    DELETE FROM __agents_usage
    WHERE timestamp < ?1
    RETURNING 1 AS deleted
"""

# Before the backfills: deletes the totals that they count anew. The totals of deleted entries (kept = 1) stay.
CLEAR_TOTALS: tuple[LiteralString, ...] = (
    "DELETE FROM __agents_usage_by_session WHERE kept = 0",
    "DELETE FROM __agents_usage_by_day WHERE kept = 0",
    "DELETE FROM __agents_usage_sub_sessions WHERE kept = 0",
)


def remember_deletion(count: LiteralString) -> LiteralString:
    """Return the SQL that keeps a deletion under its commit id, in one row. It runs after COMMIT_GUARD and before the deletion.

    Its parameters are ?1 as in `count`, ?2 commit id, ?3 digest of the request, ?4 now.

    Args:
        count: a SELECT that counts the entries to delete.
    """
    return f"""
    INSERT INTO __agents_usage_commits (commit_id, digest, recorded_at, deleted)
    SELECT ?2, ?3, ?4, counted.*
    FROM ({count}) AS counted
    """
