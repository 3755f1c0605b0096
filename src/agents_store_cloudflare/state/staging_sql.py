"""The SQL of staged changes."""

from __future__ import annotations

from typing import LiteralString

from agents_store_cloudflare.state.commit_sql import session_update

__all__ = [
    "DELETE_PROMOTED",
    "DISCARD_STAGED",
    "INSERT_STAGED",
    "REMEMBER_DISCARD",
    "REMEMBER_STAGED",
    "SELECT_STAGED",
    "SELECT_STAGED_ALL",
    "STAGED_AS_READ",
]

# The version stays, because staging does not change the session.
REMEMBER_STAGED: LiteralString = session_update("staged_count = staged_count + 1", version="version")

# ?1 session id, ?2 step id, ?3 tool call id, ?4 timestamp, ?5 change
INSERT_STAGED: LiteralString = """
    INSERT INTO __agents_staged_changes (session_no, step_id, tool_call_id, position, timestamp, change)
    SELECT session_no, ?2, ?3, staged_count, ?4, ?5
    FROM __agents_states
    WHERE session_id = ?1
    ON CONFLICT (session_no, step_id, tool_call_id) DO UPDATE SET
      position = excluded.position,
      timestamp = excluded.timestamp,
      change = excluded.change
"""

# ?1 session id, ?2 step id -> (tool call id, timestamp, change, position), in the order of promotion. Primary key.
SELECT_STAGED: LiteralString = """
    SELECT g.tool_call_id, g.timestamp, g.change, g.position
    FROM __agents_states AS s
    JOIN __agents_staged_changes AS g ON g.session_no = s.session_no
    WHERE s.session_id = ?1
      AND g.step_id = ?2
    ORDER BY g.timestamp, g.position
"""

# ?1 session id -> the same for all steps
SELECT_STAGED_ALL: LiteralString = """
    SELECT g.tool_call_id, g.timestamp, g.change, g.position
    FROM __agents_states AS s
    JOIN __agents_staged_changes AS g ON g.session_no = s.session_no
    WHERE s.session_id = ?1
    ORDER BY g.timestamp, g.position
"""

# ?1 session id, ?2 step id, ?3 JSON list of the positions that were read: aborts the batch unless all of them are still staged.
# Primary keys.
STAGED_AS_READ: LiteralString = """
    SELECT
      CASE WHEN (
        SELECT count(*)
        FROM __agents_staged_changes AS g
        WHERE g.session_no = s.session_no
          AND g.step_id = ?2
          AND g.position IN (SELECT value FROM json_each(?3))
      ) < json_array_length(?3) THEN json_extract('{}', 'agents-store ' || json_object(
        'fault', 'staged',
        'version', s.version
      )) END AS verdict
    FROM __agents_states AS s
    WHERE s.session_id = ?1
"""

# ?1 session id, ?2 step id, ?3 JSON list of the positions that were promoted. Changes that were staged since then stay.
DELETE_PROMOTED: LiteralString = """
    DELETE FROM __agents_staged_changes
    WHERE session_no = (SELECT session_no FROM __agents_states WHERE session_id = ?1)
      AND step_id = ?2
      AND position IN (SELECT value FROM json_each(?3))
"""

# ?6 step id. The result is how many changes are discarded. The version stays.
REMEMBER_DISCARD: LiteralString = session_update(
    version="version",
    result="""coalesce(json(?5), (
            SELECT count(*)
            FROM __agents_staged_changes AS g
            WHERE g.session_no = __agents_states.session_no
              AND g.step_id = ?6
          ))""",
)

# ?1 session id, ?2 step id
DISCARD_STAGED: LiteralString = """
    DELETE FROM __agents_staged_changes
    WHERE session_no = (SELECT session_no FROM __agents_states WHERE session_id = ?1)
      AND step_id = ?2
"""
