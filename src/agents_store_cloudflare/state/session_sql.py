"""The SQL of sessions: their state rows, and lists of sessions."""

from __future__ import annotations

from typing import LiteralString

from agents_store_cloudflare.state.commit_sql import remembered, session_update

__all__ = [
    "COMPARE_AND_SET_STATUS",
    "CREATE_STATE",
    "INCREMENT_RESUME_COUNT",
    "INCREMENT_STEP_COUNT",
    "LIST_CHILDREN",
    "LIST_PREFIXED",
    "LIST_SESSIONS",
    "RESET_FENCE",
    "SELECT_CUSTOM_STATE",
    "SELECT_EXISTS",
    "SELECT_STATE",
    "SELECT_STATUS",
    "SET_CUSTOM_STATE",
    "STATE_COLUMNS",
    "UPDATE_STATE",
    "UPDATE_STATUS",
    "UPSERT_STATE",
]

# ?1 session id, ?2 now, ?3 commit id, ?4 operation, ?5 result, ?6 new messages, ?7 new checkpoints, ?8 the epoch of a new history,
# ?9 agent type, ?10 status, ?11 step count, ?12 custom state, ?13 output, ?14 error, ?15 stream id, ?16 parent, ?17 aborted,
# ?18 abort reason, ?19 root, ?20 resume count, ?21 expires at, ?22 details
_INSERT: LiteralString = """
    INSERT INTO __agents_states (
      session_id, created_at, updated_at, version, session_no, message_count, history_epoch, checkpoint_count, commits,
      agent_type, status, step_count, custom_state, output, error, stream_id, parent_session_id,
      aborted, abort_reason, root_session_id, resume_count, expires_at, details
    )
    VALUES (
      ?1, ?2, ?2, 1, (SELECT next_no FROM __agents_next_session_no), ?6, ?8, ?7,
      json_array(json_array(
        ?3, ?4, 1, 0, CAST(?6 AS INTEGER), CAST(?7 AS INTEGER), CAST(?2 AS INTEGER), CAST(?8 AS INTEGER), json(?5)
      )),
      ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, {root}, ?20, ?21, ?22
    )
"""

# The parameters of `_INSERT` -> (this commit). An update changes no index, except the index of expires_at when that is set. Primary key.
UPSERT_STATE: LiteralString = (
    _INSERT.replace("{root}", "?19")
    + """
    ON CONFLICT (session_id) DO UPDATE SET
      updated_at = excluded.updated_at,
      version = version + 1,
      message_count = message_count + ?6,
      checkpoint_count = checkpoint_count + ?7,
      agent_type = excluded.agent_type,
      status = excluded.status,
      step_count = excluded.step_count,
      custom_state = excluded.custom_state,
      output = excluded.output,
      error = excluded.error,
      stream_id = excluded.stream_id,
      aborted = excluded.aborted,
      abort_reason = excluded.abort_reason,
      root_session_id = excluded.root_session_id,
      resume_count = excluded.resume_count,
      expires_at = excluded.expires_at,
      details = excluded.details,
"""
    + remembered(messages="message_count + ?6", checkpoints="checkpoint_count + ?7")
    + """
    RETURNING json_extract(commits, '$[#-1]') AS newest_commit
"""
)

# The parameters of `_INSERT`, for a session that exists -> (this commit). Primary key.
UPDATE_STATE: LiteralString = (
    """
    UPDATE __agents_states
    SET
      updated_at = ?2,
      version = version + 1,
      message_count = message_count + ?6,
      checkpoint_count = checkpoint_count + ?7,
      agent_type = ?9,
      status = ?10,
      step_count = ?11,
      custom_state = ?12,
      output = ?13,
      error = ?14,
      stream_id = ?15,
      aborted = ?17,
      abort_reason = ?18,
      root_session_id = ?19,
      resume_count = ?20,
      expires_at = ?21,
      details = ?22,
"""
    + remembered(messages="message_count + ?6", checkpoints="checkpoint_count + ?7")
    + """
    WHERE session_id = ?1
    RETURNING json_extract(commits, '$[#-1]') AS newest_commit
"""
)

# The parameters of `_INSERT` -> (this commit), or no row when the session exists. A child gets the root of its parent. Primary key.
CREATE_STATE: LiteralString = (
    _INSERT.replace(
        "{root}",
        """coalesce(
        ?19,
        (SELECT coalesce(p.root_session_id, p.session_id) FROM __agents_states AS p WHERE p.session_id = ?16),
        ?16
      )""",
    )
    + """
    ON CONFLICT (session_id) DO NOTHING
    RETURNING json_extract(commits, '$[#-1]') AS newest_commit
"""
)

# ?6 status
UPDATE_STATUS: LiteralString = session_update("status = ?6")

# ?6 status, ?7 JSON list of the expected statuses, each in a list -> (this commit), or no row when the status is none of them
COMPARE_AND_SET_STATUS: LiteralString = session_update(
    "status = ?6", condition="json_array(status) IN (SELECT value FROM json_each(?7))"
)

# ?1 session id -> (status, version) or no row
SELECT_STATUS: LiteralString = """
    SELECT status, version
    FROM __agents_states
    WHERE session_id = ?1
"""

# -> (this commit), or no row when the count is the largest whole number that JavaScript carries exactly
INCREMENT_RESUME_COUNT: LiteralString = session_update(
    "resume_count = resume_count + 1",
    result="coalesce(json(?5), resume_count + 1)",
    condition="resume_count < 9007199254740991",
)

# As above.
INCREMENT_STEP_COUNT: LiteralString = session_update(
    "step_count = step_count + 1",
    result="coalesce(json(?5), step_count + 1)",
    condition="step_count < 9007199254740991",
)

# ?6 custom state
SET_CUSTOM_STATE: LiteralString = session_update("custom_state = ?6")

# ?1 session id, ?2 commit id -> (custom state, version, bytes of the other texts, the commit of that id or NULL), or no row
SELECT_CUSTOM_STATE: LiteralString = """
    SELECT
      s.custom_state,
      s.version,
      length(CAST(s.agent_type || s.status || coalesce(s.output, '') || coalesce(s.error, '') || coalesce(s.stream_id, '')
        || coalesce(s.parent_session_id, '') || coalesce(s.abort_reason, '') || coalesce(s.root_session_id, '')
        || s.details AS BLOB)) AS other_bytes,
      (SELECT c.value || '' FROM json_each(s.commits) AS c WHERE c.value ->> 0 = ?2) AS first_commit
    FROM __agents_states AS s
    WHERE s.session_id = ?1
"""

# ?1 session id -> (1) or no row
SELECT_EXISTS: LiteralString = """
    SELECT 1 AS found
    FROM __agents_states
    WHERE session_id = ?1
"""

# ?1 session id. A row that remembers a deletion stays.
RESET_FENCE: LiteralString = """
    UPDATE __agents_fences
    SET token = 0
    WHERE session_id = ?1
      AND token > 0
"""

STATE_COLUMNS: LiteralString = """
      s.session_id, s.agent_type, s.stream_id, s.parent_session_id, s.root_session_id, s.created_at, s.updated_at,
      s.version, s.message_count, s.history_epoch, s.status, s.step_count,
      s.custom_state, s.output, s.error, s.aborted, s.abort_reason, s.resume_count, s.expires_at, s.details"""

# ?1 session id -> the columns of codec.state_of, or no row
SELECT_STATE: LiteralString = f"""
    SELECT {STATE_COLUMNS}
    FROM __agents_states AS s
    WHERE s.session_id = ?1
"""

# ?1 a number: lower ones are wanted, ?2 agent type or NULL, ?3 status or NULL, ?4 most rows -> (session no) and the columns of
# codec.state_of, newest first. Index of session_no, backwards: reads until enough rows fit.
LIST_SESSIONS: LiteralString = f"""
    SELECT s.session_no, {STATE_COLUMNS}
    FROM __agents_states AS s
    WHERE s.session_no < ?1
      AND (?2 IS NULL OR s.agent_type = ?2)
      AND (?3 IS NULL OR s.status = ?3)
    ORDER BY s.session_no DESC
    LIMIT ?4
"""

# ?1 … ?4 as above, ?5 parent. Index of parents: reads all children of that parent.
LIST_CHILDREN: LiteralString = f"""
    SELECT s.session_no, {STATE_COLUMNS}
    FROM __agents_states AS s
    WHERE s.parent_session_id = ?5
      AND +s.session_no < ?1
      AND (?2 IS NULL OR s.agent_type = ?2)
      AND (?3 IS NULL OR s.status = ?3)
    ORDER BY +s.session_no DESC
    LIMIT ?4
"""

# ?1 … ?4 as above, ?5 parent or NULL, ?6 prefix, ?7 the first text after all texts with that prefix. Primary key: reads all sessions
# with that prefix.
LIST_PREFIXED: LiteralString = f"""
    SELECT s.session_no, {STATE_COLUMNS}
    FROM __agents_states AS s
    WHERE s.session_id >= ?6
      AND s.session_id < ?7
      AND (?5 IS NULL OR +s.parent_session_id = ?5)
      AND +s.session_no < ?1
      AND (?2 IS NULL OR s.agent_type = ?2)
      AND (?3 IS NULL OR s.status = ?3)
    ORDER BY +s.session_no DESC
    LIMIT ?4
"""
