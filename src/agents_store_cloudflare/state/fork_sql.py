"""The SQL that forks a session: a checkpoint becomes the state of a new session."""

from __future__ import annotations

from typing import LiteralString

from agents_store_cloudflare.state.numbering import FIRST_KEY, first_key

__all__ = ["FORK_BLOCKS", "FORK_STATE"]

# ?1 the new session's id, ?2 now, ?3 commit id, ?4 operation, ?5 result, ?6 number, ?7 epoch, ?8 the source's id -> (this commit).
# The fork has no parent, so it outlives the tree of its source. It gets the present deadline of its source unless that has passed.
FORK_STATE: LiteralString = f"""
    INSERT INTO __agents_states (
      session_id, created_at, updated_at, version, session_no, message_count, history_epoch, checkpoint_count, commits,
      agent_type, status, step_count, custom_state, output, error, stream_id,
      aborted, abort_reason, resume_count, expires_at, details
    )
    SELECT
      ?1, ?2, ?2, 1, (SELECT next_no FROM __agents_next_session_no), c.message_count, ?7, 0,
      json_array(json_array(?3, ?4, 1, 0, c.message_count, 0, CAST(?2 AS INTEGER), CAST(?7 AS INTEGER), json(?5))),
      coalesce(c.agent_type, base.agent_type, s.agent_type), c.status, c.step_count,
      coalesce(base.custom_state, c.custom_state), c.output, c.error, ?1,
      c.aborted, c.abort_reason, c.resume_count, CASE WHEN s.expires_at > ?2 THEN s.expires_at END, c.details
    FROM __agents_states AS s
    JOIN __agents_checkpoints AS c ON c.id = {FIRST_KEY} + CAST(?6 AS INTEGER)
    LEFT JOIN __agents_checkpoints AS base ON base.id = c.base_id
    WHERE s.session_id = ?8
    RETURNING json_extract(commits, '$[#-1]') AS newest_commit
"""

# ?1 the new session's id, ?2 the source's id. Copies the blocks that hold the new session's messages. It joins small blocks to blocks of
# up to 512 KB, so that it writes few rows; a block over 256 KB stays by itself. The last block may hold too many messages:
# CUT_LAST_BLOCK cuts it.
FORK_BLOCKS: LiteralString = f"""
    WITH source AS (
      SELECT
        {FIRST_KEY} AS base,
        {first_key("n.session_no")} AS new_base,
        n.message_count AS message_count
      FROM __agents_states AS s
      JOIN __agents_states AS n ON n.session_id = ?1
      WHERE s.session_id = ?2
    ),
    sized AS (
      SELECT
        b.id,
        b.count,
        source.base,
        source.new_base,
        CASE
          WHEN length(CAST(b.body AS BLOB)) < 262144 THEN sum(length(CAST(b.body AS BLOB))) OVER (ORDER BY b.id) / 262144
          ELSE -b.id
        END AS bucket
      FROM source
      JOIN __agents_message_blocks AS b
        ON b.id >= source.base
        AND b.id < source.base + source.message_count
    )
    INSERT INTO __agents_message_blocks (id, count, body)
    SELECT
      joined.new_base + joined.first_id - joined.base,
      joined.count,
      (
        SELECT group_concat(ordered.body, char(9))
        FROM (
          SELECT b.body
          FROM __agents_message_blocks AS b
          WHERE b.id BETWEEN joined.first_id AND joined.last_id
          ORDER BY b.id
        ) AS ordered
      )
    FROM (
      SELECT min(id) AS first_id, max(id) AS last_id, sum(count) AS count, base, new_base
      FROM sized
      GROUP BY bucket, base, new_base
    ) AS joined
"""
