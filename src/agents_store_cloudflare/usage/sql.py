"""The SQL of usage entries. It names the table `__agents_usage`; `tables.for_table` makes the same SQL for a table of another name.

Entries are sent as one JSON text of arrays (`Recording.entries`). The `data` of an entry with user JSON is a text inside, so SQL never
writes user JSON anew and integers keep their digits. The amounts for the totals are sent as another text (`Recording.by_session`).
"""

from __future__ import annotations

from typing import LiteralString

from agents_store_cloudflare.usage.amounts_sql import EXACT, UNREADABLE, readable, recorded_amounts_added

__all__ = [
    "ADD_SUB_SESSIONS",
    "ADD_TO_DAYS",
    "ADD_TO_SESSIONS",
    "COMMIT_GUARD",
    "COUNT_ENTRIES",
    "FENCE_GUARD",
    "FIND_SESSIONS",
    "INSERT_ENTRIES",
    "NEW_GUARD",
    "RAISE_FENCES",
    "REMEMBER_COMMIT",
    "REPEAT_GUARD",
    "SELECT_EXISTS",
    "SELECT_PAGE",
    "SELECT_ROLLUP",
    "SELECT_STORED",
    "SELECT_TOTALS",
    "SELECT_TREE",
]

# Aborts the batch when the commit id was used: fault "repeated" for the same request, "commit" for another request. Writes nothing.
# ?1 commit id, ?2 digest of the request -> no row. Primary key.
COMMIT_GUARD: LiteralString = """
    SELECT json_extract('{}', 'agents-store ' || json_object(
      'fault', CASE digest WHEN ?2 THEN 'repeated' ELSE 'commit' END,
      'deleted', deleted
    )) AS verdict
    FROM __agents_usage_commits
    WHERE commit_id = ?1
"""

# ?1 commit id, ?2 digest of the request, ?3 now. Writes one row, after COMMIT_GUARD.
REMEMBER_COMMIT: LiteralString = """
    INSERT INTO __agents_usage_commits (commit_id, digest, recorded_at)
    VALUES (?1, ?2, ?3)
"""

# ?1 JSON list of ids: aborts the batch when one of them is stored already -> no row. Primary key.
NEW_GUARD: LiteralString = """
    SELECT json_extract('{}', 'agents-store ' || json_object('fault', 'stored')) AS verdict
    FROM json_each(?1) AS given
    CROSS JOIN __agents_usage AS stored ON stored.id = given.value
    LIMIT 1
"""

# ?1 entries, or their sums when all are new, ?2 fencing token: aborts the batch when a higher token has been seen for the session of an
# entry that is not stored yet; writes nothing -> no row. Primary keys of __agents_usage and __agents_fences.
FENCE_GUARD: LiteralString = """
    SELECT json_extract('{}', 'agents-store ' || json_object('fault', 'fence', 'session_id', f.session_id, 'token', f.token)) AS verdict
    FROM json_each(?1) AS given
    CROSS JOIN __agents_fences AS f ON f.session_id = given.value ->> 1
    WHERE f.token > ?2
      AND NOT EXISTS (SELECT 1 FROM __agents_usage AS stored WHERE stored.id = given.value ->> 0)
    LIMIT 1
"""

# ?1 JSON list of session ids, ?2 fencing token. Writes a row only when the token rises.
RAISE_FENCES: LiteralString = """
    INSERT INTO __agents_fences (session_id, token)
    SELECT value, ?2
    FROM json_each(?1)
    WHERE true
    ON CONFLICT (session_id) DO UPDATE SET token = excluded.token
    WHERE excluded.token > token
"""

# ?1 entries: aborts the batch when a repeated commit id comes with other entries. Times and prices may differ, because the store makes
# them -> no row. Primary key.
REPEAT_GUARD: LiteralString = """
    SELECT json_extract('{}', 'agents-store ' || json_object('fault', 'commit', 'id', stored.id)) AS verdict
    FROM json_each(?1) AS given
    CROSS JOIN __agents_usage AS stored ON stored.id = given.value ->> 0
    WHERE stored.kind <> given.value ->> 2
      OR NOT json_valid(stored.data)
      OR json_remove(stored.data, '$.costMicros', '$.priceVersion') <> json_remove(given.value ->> 7, '$.costMicros', '$.priceVersion')
    LIMIT 1
"""

# Stands before INSERT_ENTRIES in the same batch. An entry that is stored already adds nothing. Normally no entry is stored, and one row
# for each total is enough. Otherwise the entries that are not stored are added one by one.
# ?1 the sums of the entries, ?2 the additions of each entry (the same columns), ?3 their ids; after NEW_GUARD ?2 and ?3 are empty.
# Primary keys.
ADD_TO_SESSIONS: LiteralString = """
    INSERT INTO __agents_usage_by_session (session_id, kept, kind, name, first_timestamp, last_timestamp, amounts)
    SELECT
      part.value ->> 1, 0, part.value ->> 2, part.value ->> 3, part.value ->> 4, part.value ->> 5, part.value -> 6
    FROM json_each(
      CASE
        WHEN EXISTS (SELECT 1 FROM json_each(?3) AS given CROSS JOIN __agents_usage AS stored ON stored.id = given.value)
          THEN ?2
        ELSE ?1
      END
    ) AS part
    WHERE NOT EXISTS (SELECT 1 FROM __agents_usage AS stored WHERE stored.id = part.value ->> 0)
    ON CONFLICT (session_id, kept, kind, name) DO UPDATE SET
      first_timestamp = min(first_timestamp, excluded.first_timestamp),
      last_timestamp = max(last_timestamp, excluded.last_timestamp),
""" + recorded_amounts_added("__agents_usage_by_session")  # noqa: S608 - constants alone

# The statement above for the totals of days.
ADD_TO_DAYS: LiteralString = """
    INSERT INTO __agents_usage_by_day (day, kept, kind, name, agent, amounts)
    SELECT part.value ->> 7, 0, part.value ->> 2, part.value ->> 3, part.value ->> 8, part.value -> 6
    FROM json_each(
      CASE
        WHEN EXISTS (SELECT 1 FROM json_each(?3) AS given CROSS JOIN __agents_usage AS stored ON stored.id = given.value)
          THEN ?2
        ELSE ?1
      END
    ) AS part
    WHERE NOT EXISTS (SELECT 1 FROM __agents_usage AS stored WHERE stored.id = part.value ->> 0)
    ON CONFLICT (day, kept, kind, name, agent) DO UPDATE SET
""" + recorded_amounts_added("__agents_usage_by_day")  # noqa: S608 - constants alone

# Stands before INSERT_ENTRIES. ?1 JSON list of (id, session id, sub-session id). An entry that is stored already adds nothing. Primary
# keys.
ADD_SUB_SESSIONS: LiteralString = """
    INSERT INTO __agents_usage_sub_sessions (session_id, kept, sub_session_id)
    SELECT value ->> 1, 0, value ->> 2
    FROM json_each(?1)
    WHERE NOT EXISTS (SELECT 1 FROM __agents_usage AS stored WHERE stored.id = value ->> 0)
    ON CONFLICT DO NOTHING
"""

# ?1 entries, ?2 now. An entry whose id is stored already changes nothing.
INSERT_ENTRIES: LiteralString = """
    INSERT INTO __agents_usage (
      id, session_id, kind, step_count, timestamp, source_type, source_name, data, created_at
    )
    SELECT
      value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, ?2
    FROM json_each(?1)
    WHERE true
    ON CONFLICT (id) DO NOTHING
"""

# Stands before INSERT_ENTRIES. ?1 JSON list of ids -> the columns of entries.entry_of of the stored ones. Primary key.
SELECT_STORED: LiteralString = """
    SELECT e.id, e.session_id, e.kind, e.step_count, e.timestamp, e.source_type, e.source_name, e.data
    FROM json_each(?1) AS given
    CROSS JOIN __agents_usage AS e ON e.id = given.value
"""

# ?1 session id, ?2 JSON list of kinds or NULL, ?3 least step or NULL, ?4 most step or NULL, ?5 most rows (-1: all), ?6 rows to skip,
# ?7 run id or NULL -> the columns of entries.entry_of, by time, then insertion. Index on session_id.
SELECT_PAGE: LiteralString = """
    SELECT id, session_id, kind, step_count, timestamp, source_type, source_name, data
    FROM __agents_usage
    WHERE session_id = ?1
      AND (?2 IS NULL OR kind IN (SELECT value FROM json_each(?2)))
      AND (?3 IS NULL OR step_count >= ?3)
      AND (?4 IS NULL OR step_count <= ?4)
      AND (?7 IS NULL OR CASE WHEN json_valid(data) THEN data ->> '$.runId' END = ?7)
    ORDER BY timestamp, rowid
    LIMIT ?5 OFFSET ?6
"""

# ?1 session id -> the columns of rollup.rollup_of. Primary key: a row for each model, tool, agent type and custom name.
SELECT_ROLLUP: LiteralString = """
    SELECT session_id, kind, name, first_timestamp, last_timestamp, amounts
    FROM __agents_usage_by_session
    WHERE session_id = ?1
"""

# ?1 session id -> the same columns for the session and all its descendants: children by parent_session_id, and sessions that
# subagent entries name. UNION ends at a cycle. Primary keys, and the index on parent_session_id.
SELECT_TREE: LiteralString = """
    WITH RECURSIVE tree (session_id) AS (
      SELECT ?1
      UNION
      SELECT child.session_id
      FROM tree
      JOIN __agents_states AS child ON child.parent_session_id = tree.session_id
      UNION
      SELECT named.sub_session_id
      FROM tree
      JOIN __agents_usage_sub_sessions AS named ON named.session_id = tree.session_id
    )
    SELECT total.session_id, total.kind, total.name, total.first_timestamp, total.last_timestamp, total.amounts
    FROM tree
    CROSS JOIN __agents_usage_by_session AS total ON total.session_id = tree.session_id
"""

# ?1 "day", "model", "agent" or "tool", ?2 first day, ?3 last day, ?4 agent or NULL, ?5 model or NULL, ?6 tool or NULL, ?7 most rows
# (-1: all), ?8 rows to skip -> (key, amounts), by key. Primary key, by day.
SELECT_TOTALS: LiteralString = f"""
    WITH counted AS (
      SELECT
        CASE ?1 WHEN 'day' THEN total.day WHEN 'agent' THEN total.agent ELSE total.name END AS own_key,
        CASE WHEN part.value {EXACT} THEN part.key ELSE 'unreadable' END AS counter,
        sum(CASE WHEN part.value {EXACT} THEN part.value ELSE 1 END) AS amount
      FROM __agents_usage_by_day AS total
      JOIN json_each({readable("total.amounts", UNREADABLE)}) AS part
      WHERE total.day BETWEEN ?2 AND ?3
        AND (?1 <> 'model' OR total.kind = 'tokens')
        AND (?1 <> 'tool' OR total.kind = 'tool')
        AND (?4 IS NULL OR total.agent = ?4)
        AND (?5 IS NULL OR (total.kind = 'tokens' AND total.name = ?5))
        AND (?6 IS NULL OR (total.kind = 'tool' AND total.name = ?6))
      GROUP BY own_key, counter
    )
    SELECT own_key, json_group_object(counter, amount)
    FROM counted
    GROUP BY own_key
    ORDER BY own_key
    LIMIT ?7 OFFSET ?8
"""  # noqa: S608 - constants alone

# ?1 session id -> (1) or no row. Index on session_id.
SELECT_EXISTS: LiteralString = """
    SELECT 1 AS found
    FROM __agents_usage
    WHERE session_id = ?1
    LIMIT 1
"""

# ?1 session id -> (number of entries). Index on session_id.
COUNT_ENTRIES: LiteralString = """
    SELECT count(*) AS entries
    FROM __agents_usage
    WHERE session_id = ?1
"""

# ?1 agent type or NULL, ?2 most rows (-1: all) -> (session id), the most recently used first. Reads the whole table: for an
# operator's call.
FIND_SESSIONS: LiteralString = """
    SELECT session_id
    FROM __agents_usage
    WHERE ?1 IS NULL OR (source_type = 'agent' AND source_name = ?1)
    GROUP BY session_id
    ORDER BY max(timestamp) DESC, session_id
    LIMIT ?2
"""
