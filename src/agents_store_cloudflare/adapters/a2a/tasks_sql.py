"""The SQL of A2A's tasks."""

from __future__ import annotations

from typing import LiteralString

__all__ = ["COUNT", "DELETE", "GUARD_SAVE", "SELECT_PAGE", "SELECT_TASK", "UPSERT"]

# The protocol's numbers of COMPLETED, FAILED, CANCELED, REJECTED.
_ENDED: LiteralString = "(3, 4, 5, 7)"

# Aborts the batch unless the task may be written. ?1 owner, ?2 task, ?3 session, ?4 the version that must be stored (NULL: none),
# ?5 the write's name, ?6 the new state, ?7 1 to accept any stored version that has not ended, otherwise 0. When the write is stored
# already, `done` has the version that it made. Unique index.
GUARD_SAVE: LiteralString = f"""
    SELECT
      CASE WHEN fault IS NOT NULL THEN json_extract('{{}}', 'agents-store ' || json_object(
        'fault', fault,
        'version', version
      )) END AS verdict
    FROM (
      SELECT
        printf('%012d.%s', CAST(t.version AS INTEGER) - instr(t.writes, ?5) / 13, ?5) AS version,
        CASE
          WHEN instr(t.writes, ?5) > 0 THEN 'done'
          WHEN t.session_id <> ?3 THEN 'context'
          WHEN ?7 = 1 AND (t.version IS NULL OR t.state IN {_ENDED}) THEN 'conflict'
          WHEN ?7 = 0 AND t.version IS NOT ?4 THEN 'conflict'
          WHEN t.state IN {_ENDED} AND t.state <> ?6 THEN 'conflict'
        END AS fault
      FROM (SELECT 1)
      LEFT JOIN __agents_a2a_tasks AS t ON t.owner = ?1 AND t.task_id = ?2
    )
"""

# ?1 owner, ?2 task, ?3 session, ?4 the write's name, ?5 state, ?6 updated_at, ?7 body -> (version). Unique index.
UPSERT: LiteralString = """
    INSERT INTO __agents_a2a_tasks (owner, task_id, session_id, version, writes, state, updated_at, body)
    VALUES (?1, ?2, ?3, printf('%012d.%s', 1, ?4), ?4, ?5, ?6, ?7)
    ON CONFLICT (owner, task_id) DO UPDATE SET
      version = printf('%012d.%s', CAST(version AS INTEGER) + 1, ?4),
      writes = excluded.writes || ' ' || substr(writes, 1, 194),
      state = excluded.state,
      updated_at = excluded.updated_at,
      body = excluded.body
    RETURNING version
"""

# ?1 owner, ?2 task -> (version, session, body). Unique index.
SELECT_TASK: LiteralString = """
    SELECT version, session_id, body
    FROM __agents_a2a_tasks
    WHERE owner = ?1
      AND task_id = ?2
"""

# ?1 owner, ?2 context or NULL for all, ?3 state or NULL for all, ?4 the oldest updated_at, '' for all
_FOUND: LiteralString = """
    FROM __agents_a2a_tasks
    WHERE owner = ?1
      AND updated_at >= ?4
      AND (?3 IS NULL OR state = ?3)
      AND (?2 IS NULL OR (session_id = ?2 AND body ->> '$.contextId' = ?2))
"""

# As above -> (number of tasks). Reads the index of the owner's tasks.
COUNT: LiteralString = f"SELECT count(*) {_FOUND}"

# As above, ?5 and ?6 the updated_at and the id of the task before the page, ?7 most tasks, ?8 most characters -> (task, body, the
# number of found tasks from this one on), the newest first. The first task comes at any length.
SELECT_PAGE: LiteralString = f"""
    SELECT task_id, body, found
    FROM (
      SELECT
        updated_at,
        task_id,
        body,
        sum(length(body)) OVER (ORDER BY updated_at DESC, task_id DESC) - length(body) AS length_before,
        count(*) OVER () AS found
      FROM (
        SELECT updated_at, task_id, body
        {_FOUND}
          AND (updated_at, task_id) < (?5, ?6)
        ORDER BY updated_at DESC, task_id DESC
        LIMIT ?7
      )
    )
    WHERE length_before < ?8
    ORDER BY updated_at DESC, task_id DESC
"""

# Deletes a task in the life that it had in a version. ?1 owner, ?2 task, ?3 the version: if the task was deleted and made anew since,
# nothing changes. Aborts the batch if the row no longer tells, because it was saved 16 times or more since. Unique index.
DELETE: LiteralString = """
    DELETE FROM __agents_a2a_tasks
    WHERE owner = ?1
      AND task_id = ?2
      AND CASE
        WHEN instr(writes, substr(?3, 14)) > 0 THEN 1
        WHEN CAST(version AS INTEGER) < CAST(?3 AS INTEGER) + 16 THEN 0
        ELSE json_extract('{}', 'agents-store ' || json_object('fault', 'unknown'))
      END
"""
