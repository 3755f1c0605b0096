"""The SQL of checkpoints.

A checkpoint whose custom state equals the one before does not hold it again: `base_id` names the checkpoint that holds it.
"""

from __future__ import annotations

from typing import LiteralString

from agents_store_cloudflare.state.commit_sql import session_update
from agents_store_cloudflare.state.numbering import FIRST_KEY, LAST_KEY, first_key

__all__ = [
    "BLOCKS_OF_CHECKPOINT",
    "BLOCKS_OF_PAGE",
    "CHECKPOINT_EXISTS",
    "DELETE_COUNTING_MORE",
    "DELETE_LATER_CHECKPOINTS",
    "INSERT_CHECKPOINT",
    "LATEST_BLOCKS",
    "LATEST_CHECKPOINT",
    "LIST_BARE_CHECKPOINTS",
    "LIST_CHECKPOINTS",
    "NEWEST_CHECKPOINT",
    "RESTORE_STATE",
    "SELECT_CHECKPOINT",
    "TOUCH_CHECKPOINTS",
]

# ?6 run id, ?7 stream sequence. The version stays, because a checkpoint does not change the session. The result holds the facts that a
# repetition needs: `codec.remembered_checkpoint` reads them.
TOUCH_CHECKPOINTS: LiteralString = session_update(
    "checkpoint_count = checkpoint_count + 1",
    version="version",
    checkpoints="checkpoint_count + 1",
    result="coalesce(json(?5), json_array(step_count, status, ?6, CAST(?7 AS INTEGER)))",
)

# The id of the newest checkpoint of the state row `s`; a pruned one counts too.
_NEWEST_ID: LiteralString = f"""(
        SELECT max(x.id)
        FROM __agents_checkpoints AS x
        WHERE x.id BETWEEN {FIRST_KEY} AND {LAST_KEY}
      )"""

_SAME_OWNERS: LiteralString = """base.custom_state = s.custom_state
        AND base.agent_type = s.agent_type
        AND base.stream_id = coalesce(s.stream_id, '')"""

# ?1 session id, ?2 run id, ?3 stream sequence. The checkpoint gets the time of the newest commit, which is the commit that keeps it.
# Primary keys: reads the newest checkpoint, and the one that holds its custom state.
INSERT_CHECKPOINT: LiteralString = f"""
    INSERT INTO __agents_checkpoints (
      id, timestamp, run_id, stream_sequence, version, message_count, history_epoch, status, step_count,
      custom_state, base_id, agent_type, stream_id,
      output, error, aborted, abort_reason, resume_count, expires_at, details
    )
    SELECT
      {FIRST_KEY} + s.checkpoint_count, json_extract(s.commits, '$[#-1][6]'), ?2, ?3,
      s.version, s.message_count, s.history_epoch, s.status, s.step_count,
      CASE WHEN base.custom_state = s.custom_state THEN '' ELSE s.custom_state END,
      CASE WHEN base.custom_state = s.custom_state THEN base.id END,
      CASE WHEN {_SAME_OWNERS} THEN NULL ELSE s.agent_type END,
      CASE WHEN {_SAME_OWNERS} THEN NULL ELSE coalesce(s.stream_id, '') END,
      s.output, s.error, s.aborted, s.abort_reason, s.resume_count, s.expires_at, s.details
    FROM __agents_states AS s
    LEFT JOIN __agents_checkpoints AS newest ON newest.id = {_NEWEST_ID}
    LEFT JOIN __agents_checkpoints AS base ON base.id = coalesce(newest.base_id, newest.id)
    WHERE s.session_id = ?1
"""

_BARE_COLUMNS: LiteralString = f"""
      c.id - {FIRST_KEY} AS number, c.timestamp, c.run_id, c.stream_sequence,
      c.status, c.step_count, c.message_count"""

_COLUMNS: LiteralString = f"""
      c.id - {FIRST_KEY} AS number, c.timestamp, c.run_id, c.stream_sequence,
      s.session_id, coalesce(c.agent_type, base.agent_type, s.agent_type) AS agent_type,
      coalesce(c.stream_id, base.stream_id, s.stream_id) AS stream_id,
      s.parent_session_id, s.root_session_id, s.created_at, c.timestamp AS updated_at,
      c.version, c.message_count, c.history_epoch, c.status, c.step_count,
      coalesce(base.custom_state, c.custom_state) AS custom_state,
      c.output, c.error, c.aborted, c.abort_reason, c.resume_count, c.expires_at, c.details"""

# ?1 session id -> (number, timestamp, run id, stream sequence, status, step count, message count) of the newest checkpoint
NEWEST_CHECKPOINT: LiteralString = f"""
    SELECT {_BARE_COLUMNS}
    FROM __agents_states AS s
    JOIN __agents_checkpoints AS c ON c.id = {FIRST_KEY} + s.checkpoint_count
    WHERE s.session_id = ?1
"""

_LATEST: LiteralString = f"""
    FROM __agents_states AS s
    JOIN __agents_checkpoints AS c
      ON c.id = (
        SELECT x.id
        FROM __agents_checkpoints AS x
        WHERE x.id BETWEEN {FIRST_KEY} AND {LAST_KEY}
          AND x.pruned = 0
        ORDER BY x.id DESC
        LIMIT 1
      )"""

# ?1 session id -> (number, timestamp, run id, stream sequence) and the columns of codec.state_of, or no row.
# Primary keys: reads one checkpoint, and the one that holds its custom state.
LATEST_CHECKPOINT: LiteralString = f"""
    SELECT {_COLUMNS}
    {_LATEST}
    LEFT JOIN __agents_checkpoints AS base ON base.id = c.base_id
    WHERE s.session_id = ?1
"""

_COUNTED_BLOCKS: LiteralString = f"""
    JOIN __agents_message_blocks AS b
      ON b.id >= {FIRST_KEY}
      AND b.id < {FIRST_KEY} + c.message_count
    WHERE s.session_id = ?1
    ORDER BY b.id
"""

# ?1 session id -> (sequence of the block's first message, body) of the messages that the latest checkpoint counts
LATEST_BLOCKS: LiteralString = f"""
    SELECT CAST(b.id - {FIRST_KEY} AS INTEGER) AS first_sequence, b.body
    {_LATEST}
    {_COUNTED_BLOCKS}
"""

# ?1 session id, ?2 number -> as LATEST_CHECKPOINT
SELECT_CHECKPOINT: LiteralString = f"""
    SELECT {_COLUMNS}
    FROM __agents_states AS s
    JOIN __agents_checkpoints AS c ON c.id = {FIRST_KEY} + CAST(?2 AS INTEGER)
    LEFT JOIN __agents_checkpoints AS base ON base.id = c.base_id
    WHERE s.session_id = ?1
      AND c.pruned = 0
"""

# ?1 session id, ?2 number -> as LATEST_BLOCKS
BLOCKS_OF_CHECKPOINT: LiteralString = f"""
    SELECT CAST(b.id - {FIRST_KEY} AS INTEGER) AS first_sequence, b.body
    FROM __agents_states AS s
    JOIN __agents_checkpoints AS c ON c.id = {FIRST_KEY} + CAST(?2 AS INTEGER)
    {_COUNTED_BLOCKS}
"""

# Tells a session from a later one of its id: a number alone may be given again, and always is in a home.
_LIFE: LiteralString = "printf('%x-%x', s.session_no, s.created_at)"

# ?1 session id, ?2 a number: lower ones are wanted, ?3 most rows. Newest first, by primary key. A session without such checkpoints
# gives one row without a number.
_PAGE: LiteralString = f"""
    LEFT JOIN __agents_checkpoints AS c
      ON c.id > {FIRST_KEY}
      AND c.id < {FIRST_KEY} + CAST(?2 AS INTEGER)
      AND c.pruned = 0"""

_NEWEST_FIRST: LiteralString = """
    WHERE s.session_id = ?1
    ORDER BY c.id DESC
    LIMIT ?3
"""

# The parameters of `_PAGE` -> as LATEST_CHECKPOINT, then `_LIFE`
LIST_CHECKPOINTS: LiteralString = f"""
    SELECT {_COLUMNS}, {_LIFE}
    FROM __agents_states AS s
    {_PAGE}
    LEFT JOIN __agents_checkpoints AS base ON base.id = c.base_id
    {_NEWEST_FIRST}
"""

# The parameters of `_PAGE` -> as NEWEST_CHECKPOINT, then `_LIFE`
LIST_BARE_CHECKPOINTS: LiteralString = f"""
    SELECT {_BARE_COLUMNS}, {_LIFE}
    FROM __agents_states AS s
    {_PAGE}
    {_NEWEST_FIRST}
"""

# ?1 session id, ?2 a number -> as LATEST_BLOCKS, of the newest checkpoint below that number: older checkpoints count fewer messages
BLOCKS_OF_PAGE: LiteralString = f"""
    SELECT CAST(b.id - {FIRST_KEY} AS INTEGER) AS first_sequence, b.body
    FROM __agents_states AS s
    JOIN __agents_checkpoints AS c
      ON c.id = (
        SELECT x.id
        FROM __agents_checkpoints AS x
        WHERE x.id > {FIRST_KEY}
          AND x.id < {FIRST_KEY} + CAST(?2 AS INTEGER)
          AND x.pruned = 0
        ORDER BY x.id DESC
        LIMIT 1
      )
    {_COUNTED_BLOCKS}
"""

# ?1 session id, ?2 number, ?3 timestamp, ?4 step count: aborts the batch unless this checkpoint is kept. Primary keys.
CHECKPOINT_EXISTS: LiteralString = f"""
    SELECT
      CASE WHEN c.id IS NULL THEN json_extract('{{}}', 'agents-store ' || json_object(
        'fault', CASE WHEN s.session_id IS NULL THEN 'source' ELSE 'checkpoint' END,
        'version', s.version
      )) END AS verdict
    FROM (SELECT ?1 AS id) AS wanted
    LEFT JOIN __agents_states AS s ON s.session_id = wanted.id
    LEFT JOIN __agents_checkpoints AS c
      ON c.id = {FIRST_KEY} + CAST(?2 AS INTEGER)
      AND c.timestamp = ?3
      AND c.step_count = ?4
      AND c.pruned = 0
"""

# The columns that a restored session takes from its checkpoint. `expires_at` stays as it is: an old deadline would let the next
# cleanup delete the session.
_KEPT: LiteralString = """status, step_count, output, error, aborted, abort_reason, resume_count, details, custom_state,
      agent_type, stream_id"""

_KEPT_VALUES: LiteralString = """
          c.status, c.step_count, c.output, c.error, c.aborted, c.abort_reason, c.resume_count, c.details,
          coalesce(base.custom_state, c.custom_state),
          coalesce(c.agent_type, base.agent_type, __agents_states.agent_type),
          coalesce(c.stream_id, base.stream_id, __agents_states.stream_id)"""

_COUNT: LiteralString = f"""(
        SELECT c.message_count
        FROM __agents_checkpoints AS c
        WHERE c.id = {first_key("session_no")} + CAST(?6 AS INTEGER)
      )"""

_EPOCH: LiteralString = f"CASE WHEN message_count > {_COUNT} THEN ?7 ELSE history_epoch END"

# ?6 the checkpoint's number, ?7 the epoch of the history after messages were dropped
RESTORE_STATE: LiteralString = session_update(
    f"""({_KEPT}) = (
        SELECT {_KEPT_VALUES}
        FROM __agents_checkpoints AS c
        LEFT JOIN __agents_checkpoints AS base ON base.id = c.base_id
        WHERE c.id = {first_key("session_no")} + CAST(?6 AS INTEGER)
      ),
      history_epoch = {_EPOCH},
      message_count = {_COUNT}""",
    messages=_COUNT,
    epoch=_EPOCH,
)

# ?1 session id, ?2 number
DELETE_LATER_CHECKPOINTS: LiteralString = f"""
    DELETE FROM __agents_checkpoints
    WHERE id IN (
      SELECT c.id
      FROM __agents_states AS s
      JOIN __agents_checkpoints AS c
        ON c.id > {FIRST_KEY} + CAST(?2 AS INTEGER)
        AND c.id <= {LAST_KEY}
      WHERE s.session_id = ?1
    )
"""

# ?1 session id, ?2 a number of messages, or NULL for the number of the state row. Later checkpoints count at least as many messages as
# earlier ones. So every deleted checkpoint is newer than the checkpoints that stay, and holds no custom state for them.
DELETE_COUNTING_MORE: LiteralString = f"""
    DELETE FROM __agents_checkpoints
    WHERE id IN (
      SELECT c.id
      FROM __agents_states AS s
      JOIN __agents_checkpoints AS c
        ON c.id BETWEEN {FIRST_KEY} AND {LAST_KEY}
        AND c.message_count > coalesce(?2, s.message_count)
      WHERE s.session_id = ?1
    )
"""
