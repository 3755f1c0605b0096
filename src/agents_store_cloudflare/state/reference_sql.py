"""The SQL of references to sub-sessions."""

from __future__ import annotations

from typing import LiteralString

from agents_store_cloudflare.state.commit_sql import session_update

__all__ = [
    "INSERT_REFERENCE",
    "REFERENCE_EXISTS",
    "REMEMBER_REFERENCES",
    "SELECT_REFERENCES",
    "UPDATE_REFERENCE",
]

# The version stays, because a reference does not change the session.
REMEMBER_REFERENCES: LiteralString = session_update(version="version")

# ?1 session id, ?2 sub-session id, ?3 agent type, ?4 tool call id, ?5 status, ?6 location, ?7 started at, ?8 completed at, ?9 output,
# ?10 error. A reference that exists already stays as it is.
INSERT_REFERENCE: LiteralString = """
    INSERT INTO __agents_sub_sessions (
      session_no, sub_session_id, position, agent_type, parent_tool_call_id, status, location, started_at, completed_at, output, error
    )
    SELECT
      s.session_no, ?2, (SELECT count(*) FROM __agents_sub_sessions AS r WHERE r.session_no = s.session_no),
      ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10
    FROM __agents_states AS s
    WHERE s.session_id = ?1
    ON CONFLICT (session_no, sub_session_id) DO NOTHING
"""

# ?1 session id, ?2 sub-session id: aborts the batch unless the session has that reference. Primary keys.
REFERENCE_EXISTS: LiteralString = """
    SELECT
      CASE WHEN r.position IS NULL THEN json_extract('{}', 'agents-store ' || json_object('fault', 'reference')) END AS verdict
    FROM __agents_states AS s
    LEFT JOIN __agents_sub_sessions AS r ON r.session_no = s.session_no AND r.sub_session_id = ?2
    WHERE s.session_id = ?1
"""

# ?1 session id, ?2 sub-session id, ?3 status or NULL to leave it, ?4 completed at or NULL to leave it, ?5 1 to set the output, ?6 output,
# ?7 1 to set the error, ?8 error
UPDATE_REFERENCE: LiteralString = """
    UPDATE __agents_sub_sessions
    SET
      status = coalesce(?3, status),
      completed_at = coalesce(?4, completed_at),
      output = CASE WHEN ?5 = 1 THEN ?6 ELSE output END,
      error = CASE WHEN ?7 = 1 THEN ?8 ELSE error END
    WHERE session_no = (SELECT session_no FROM __agents_states WHERE session_id = ?1)
      AND sub_session_id = ?2
"""

# ?1 session id -> (sub-session id, agent type, tool call id, status, location, started at, completed at, output, error), in the
# order in which they were added. Primary key: reads the session's references.
SELECT_REFERENCES: LiteralString = """
    SELECT
      r.sub_session_id, r.agent_type, r.parent_tool_call_id, r.status, r.location, r.started_at, r.completed_at, r.output, r.error
    FROM __agents_states AS s
    JOIN __agents_sub_sessions AS r ON r.session_no = s.session_no
    WHERE s.session_id = ?1
    ORDER BY r.position
"""
