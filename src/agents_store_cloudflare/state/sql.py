"""The SQL of the state store. Every batch of a write begins with `GUARD`; what follows it is unconditional.

Keys of blocks and checkpoints are `session_no * 2^24 + n`; 16777216 is 2^24.
"""

from __future__ import annotations

from typing import LiteralString

__all__ = [
    "BLOCKS_FROM",
    "GUARD",
    "INSERT_BLOCK",
    "INSERT_CHECKPOINT",
    "LATEST_CHECKPOINT",
    "LATEST_CHECKPOINT_BLOCKS",
    "NEWEST_CHECKPOINT",
    "NUMBERED_CHECKPOINT",
    "RAISE_FENCE",
    "SELECT_EXISTS",
    "SELECT_MESSAGE_COUNT",
    "SELECT_STATE",
    "TOUCH_CHECKPOINTS",
    "UPDATE_STATUS",
    "UPSERT_STATE",
]

# Aborts the batch, with the live facts in the error's text, unless every condition holds; writes nothing.
# ?1 session id, ?2 commit id, ?3 fencing token or NULL, ?4 expected version or NULL, ?5 expected message count or NULL,
# ?6 expected history epoch (0: none), ?7 1 when the session must exist, ?8 parent that the state names, ?9 1 to compare it,
# ?10 new messages, ?11 new checkpoints
# -> one row (NULL). Primary keys of __agents_states and __agents_fences.
GUARD: LiteralString = """
    WITH stored AS (
      SELECT
        s.version,
        s.message_count,
        s.history_epoch,
        s.checkpoint_count,
        s.parent_session_id,
        f.token,
        (SELECT c.value FROM json_each(s.commits) AS c WHERE c.value ->> 0 = ?2) AS first_commit
      FROM (SELECT ?1 AS id) AS wanted
      LEFT JOIN __agents_states AS s ON s.session_id = wanted.id
      LEFT JOIN __agents_fences AS f ON f.session_id = wanted.id
    ),
    judged AS (
      SELECT
        *,
        CASE
          WHEN first_commit IS NOT NULL THEN 'replay'
          WHEN ?3 < token THEN 'fence'
          WHEN ?7 = 1 AND version IS NULL THEN 'missing'
          WHEN ?4 IS NOT NULL AND ?4 <> coalesce(version, 0) THEN 'version'
          WHEN ?5 <> coalesce(message_count, 0) THEN 'history'
          WHEN ?5 IS NOT NULL AND ?6 <> 0 AND ?6 <> coalesce(history_epoch, 0) THEN 'history'
          WHEN ?9 = 1 AND version IS NOT NULL AND ?8 IS NOT parent_session_id THEN 'parent'
          WHEN message_count + ?10 > 16777216 OR checkpoint_count + ?11 > 16777215 THEN 'full'
        END AS fault
      FROM stored
    )
    SELECT
      CASE WHEN fault IS NOT NULL THEN json_extract('{}', 'agents-store ' || json_object(
        'fault', fault,
        'version', coalesce(version, 0),
        'message_count', coalesce(message_count, 0),
        'token', token,
        'first_commit', first_commit || ''
      )) END AS verdict
    FROM judged
"""

# ?1 session id, ?2 fencing token. Writes a row only when the token rises.
RAISE_FENCE: LiteralString = """
    INSERT INTO __agents_fences (session_id, token)
    VALUES (?1, ?2)
    ON CONFLICT (session_id) DO UPDATE SET token = excluded.token
    WHERE excluded.token > token
"""

# ?1 session id, ?2 now, ?3 commit id, ?4 operation, ?5 new messages, ?6 new checkpoints, ?7 agent type, ?8 status, ?9 step count,
# ?10 custom state, ?11 output, ?12 error, ?13 stream id, ?14 parent, ?15 aborted, ?16 abort reason, ?17 root, ?18 resume count,
# ?19 expires at, ?20 details, ?21 the history's epoch, if the session is new
# -> (this commit). Primary key; an update touches no other index.
UPSERT_STATE: LiteralString = """
    INSERT INTO __agents_states (
      session_id, created_at, updated_at, version, session_no, message_count, history_epoch, checkpoint_count, commits,
      agent_type, status, step_count, custom_state, output, error, stream_id, parent_session_id,
      aborted, abort_reason, root_session_id, resume_count, expires_at, details
    )
    VALUES (
      ?1, ?2, ?2, 1, (SELECT next_no FROM __agents_next_session_no), ?5, ?21, ?6,
      json_array(json_array(
        ?3, ?4, 1, 0, CAST(?5 AS INTEGER), CAST(?6 AS INTEGER), CAST(?2 AS INTEGER), CAST(?21 AS INTEGER)
      )),
      ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20
    )
    ON CONFLICT (session_id) DO UPDATE SET
      updated_at = excluded.updated_at,
      version = version + 1,
      message_count = message_count + ?5,
      checkpoint_count = checkpoint_count + ?6,
      commits = json_insert(
        CASE WHEN json_array_length(commits) >= 32 THEN json_remove(commits, '$[0]') ELSE commits END,
        '$[#]',
        json_array(
          ?3, ?4, version + 1, message_count, CAST(message_count + ?5 AS INTEGER), CAST(checkpoint_count + ?6 AS INTEGER),
          CAST(?2 AS INTEGER), history_epoch
        )
      ),
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
      details = excluded.details
    RETURNING json_extract(commits, '$[#-1]') AS newest_commit
"""

# ?1 session id, ?2 sequence of the block's first message, ?3 messages in it, ?4 their texts joined by newlines
INSERT_BLOCK: LiteralString = """
    INSERT INTO __agents_message_blocks (id, count, body)
    SELECT session_no * 16777216 + CAST(?2 AS INTEGER), ?3, ?4
    FROM __agents_states
    WHERE session_id = ?1
"""

# ?1 session id, ?2 now, ?3 commit id, ?4 status -> (this commit)
UPDATE_STATUS: LiteralString = """
    UPDATE __agents_states
    SET
      updated_at = ?2,
      version = version + 1,
      commits = json_insert(
        CASE WHEN json_array_length(commits) >= 32 THEN json_remove(commits, '$[0]') ELSE commits END,
        '$[#]',
        json_array(?3, 'update_status', version + 1, message_count, message_count, checkpoint_count, CAST(?2 AS INTEGER), history_epoch)
      ),
      status = ?4
    WHERE session_id = ?1
    RETURNING json_extract(commits, '$[#-1]') AS newest_commit
"""

# ?1 session id, ?2 now, ?3 commit id -> (this commit). A checkpoint is no change of the session: the version stays.
TOUCH_CHECKPOINTS: LiteralString = """
    UPDATE __agents_states
    SET
      checkpoint_count = checkpoint_count + 1,
      commits = json_insert(
        CASE WHEN json_array_length(commits) >= 32 THEN json_remove(commits, '$[0]') ELSE commits END,
        '$[#]',
        json_array(
          ?3, 'save_checkpoint', version, message_count, message_count, checkpoint_count + 1, CAST(?2 AS INTEGER),
          history_epoch
        )
      )
    WHERE session_id = ?1
    RETURNING json_extract(commits, '$[#-1]') AS newest_commit
"""

# ?1 session id, ?2 now, ?3 run id, ?4 stream sequence
INSERT_CHECKPOINT: LiteralString = """
    INSERT INTO __agents_checkpoints (
      id, timestamp, run_id, stream_sequence, version, message_count, history_epoch, status, step_count,
      custom_state, output, error, aborted, abort_reason, resume_count, expires_at, details
    )
    SELECT
      session_no * 16777216 + checkpoint_count, ?2, ?3, ?4, version, message_count, history_epoch, status, step_count,
      custom_state, output, error, aborted, abort_reason, resume_count, expires_at, details
    FROM __agents_states
    WHERE session_id = ?1
"""

# ?1 session id -> (1) or no row
SELECT_EXISTS: LiteralString = """
    SELECT 1 AS found
    FROM __agents_states
    WHERE session_id = ?1
"""

# ?1 session id -> (messages stored) or no row
SELECT_MESSAGE_COUNT: LiteralString = """
    SELECT message_count
    FROM __agents_states
    WHERE session_id = ?1
"""

# ?1 session id -> the columns of codec.state_of, or no row
SELECT_STATE: LiteralString = """
    SELECT
      s.session_id, s.agent_type, s.stream_id, s.parent_session_id, s.root_session_id, s.created_at, s.updated_at,
      s.version, s.message_count, s.history_epoch, s.status, s.step_count,
      s.custom_state, s.output, s.error, s.aborted, s.abort_reason, s.resume_count, s.expires_at, s.details
    FROM __agents_states AS s
    WHERE s.session_id = ?1
"""

# ?1 session id, ?2 first sequence wanted, ?3 how many (both clipped by what is stored); ?4 how many from the end, or NULL: then
# ?2 counts -> (sequence of the block's first message, body), in order. Primary keys; reads the blocks of the page alone.
BLOCKS_FROM: LiteralString = """
    WITH page AS (
      SELECT
        session_no * 16777216 AS base,
        CAST(CASE WHEN ?4 IS NULL THEN ?2 ELSE max(message_count - ?4, 0) END AS INTEGER) AS first
      FROM __agents_states
      WHERE session_id = ?1
    )
    SELECT CAST(b.id - page.base AS INTEGER) AS first_sequence, b.body
    FROM page
    JOIN __agents_message_blocks AS b
      ON b.id >= coalesce(
        (SELECT max(c.id) FROM __agents_message_blocks AS c WHERE c.id BETWEEN page.base AND page.base + page.first),
        page.base
      )
      AND b.id < page.base + min(page.first + CAST(?3 AS INTEGER), 16777216)
    ORDER BY b.id
"""

# ?1 session id -> (number, timestamp, run id, stream sequence) and the columns of codec.state_of, or no row.
# Primary keys: one checkpoint is read.
LATEST_CHECKPOINT: LiteralString = """
    SELECT
      c.id - s.session_no * 16777216 AS number, c.timestamp, c.run_id, c.stream_sequence,
      s.session_id, s.agent_type, s.stream_id, s.parent_session_id, s.root_session_id, s.created_at, c.timestamp AS updated_at,
      c.version, c.message_count, c.history_epoch, c.status, c.step_count,
      c.custom_state, c.output, c.error, c.aborted, c.abort_reason, c.resume_count, c.expires_at, c.details
    FROM __agents_states AS s
    JOIN __agents_checkpoints AS c
      ON c.id = (
        SELECT max(x.id)
        FROM __agents_checkpoints AS x
        WHERE x.id BETWEEN s.session_no * 16777216 AND s.session_no * 16777216 + 16777215
      )
    WHERE s.session_id = ?1
"""

# ?1 session id -> (sequence of the block's first message, body) of the messages the latest checkpoint counts
LATEST_CHECKPOINT_BLOCKS: LiteralString = """
    SELECT CAST(b.id - s.session_no * 16777216 AS INTEGER) AS first_sequence, b.body
    FROM __agents_states AS s
    JOIN __agents_checkpoints AS c
      ON c.id = (
        SELECT max(x.id)
        FROM __agents_checkpoints AS x
        WHERE x.id BETWEEN s.session_no * 16777216 AND s.session_no * 16777216 + 16777215
      )
    JOIN __agents_message_blocks AS b
      ON b.id >= s.session_no * 16777216
      AND b.id < s.session_no * 16777216 + c.message_count
    WHERE s.session_id = ?1
    ORDER BY b.id
"""

# ?1 session id -> the columns of NUMBERED_CHECKPOINT, of the newest one
NEWEST_CHECKPOINT: LiteralString = """
    SELECT
      s.checkpoint_count AS number, c.timestamp, c.run_id, c.stream_sequence,
      c.status, c.step_count, c.message_count
    FROM __agents_states AS s
    JOIN __agents_checkpoints AS c ON c.id = s.session_no * 16777216 + s.checkpoint_count
    WHERE s.session_id = ?1
"""

# ?1 session id, ?2 the checkpoint's number -> (number, timestamp, run id, stream sequence, status, step count, message count)
NUMBERED_CHECKPOINT: LiteralString = """
    SELECT
      c.id - s.session_no * 16777216 AS number, c.timestamp, c.run_id, c.stream_sequence,
      c.status, c.step_count, c.message_count
    FROM __agents_states AS s
    JOIN __agents_checkpoints AS c ON c.id = s.session_no * 16777216 + CAST(?2 AS INTEGER)
    WHERE s.session_id = ?1
"""
