"""The SQL of messages. They lie in blocks, which are read by page, added at the end and cut off at the end."""

from __future__ import annotations

from typing import LiteralString

from agents_store_cloudflare.state.commit_sql import session_update
from agents_store_cloudflare.state.numbering import FIRST_KEY, KEYS_PER_SESSION, LAST_KEY, first_key, last_key

__all__ = [
    "APPEND_BLOCK",
    "APPEND_MESSAGES",
    "BLOCKS_FROM",
    "CUT_LAST_BLOCK",
    "DELETE_LATER_BLOCKS",
    "INSERT_BLOCK",
    "NO_CHECKPOINT_ABOVE",
    "POP_MESSAGES",
    "REPLACE_MESSAGES",
    "SAME_HISTORY",
    "SELECT_MESSAGE_COUNT",
    "TAIL_FITS",
    "TRUNCATE_MESSAGES",
]


def _put_block(first: LiteralString) -> LiteralString:
    """Return the SQL that stores messages from the sequence `first` on.

    They go into the session's last block while it stays small, otherwise into a new block. Both write one row. Many small blocks would
    leave a fourth of their pages empty, and each is a row to read. If another block has the key already, its body would become NULL, and
    the batch is refused.
    """
    return f"""
    INSERT INTO __agents_message_blocks (id, count, body)
    SELECT
      coalesce(
        (
          SELECT last.id
          FROM __agents_message_blocks AS last
          WHERE last.id = (
              SELECT max(b.id)
              FROM __agents_message_blocks AS b
              WHERE b.id BETWEEN {FIRST_KEY} AND {LAST_KEY}
            )
            AND last.id + last.count = {FIRST_KEY} + {first}
            AND length(CAST(last.body AS BLOB)) + length(CAST(?4 AS BLOB)) < 16000
        ),
        {FIRST_KEY} + {first}
      ),
      ?3,
      ?4
    FROM __agents_states AS s
    WHERE s.session_id = ?1
    ON CONFLICT (id) DO UPDATE SET
      count = count + excluded.count,
      body = (
        SELECT CASE WHEN excluded.id < {FIRST_KEY} + {first} THEN body || char(9) || excluded.body END
        FROM __agents_states AS s
        WHERE s.session_id = ?1
      )
    """


# ?1 session id, ?2 sequence of the first message, ?3 how many, ?4 their texts joined by tabs. Primary keys: reads the last block.
INSERT_BLOCK: LiteralString = _put_block("CAST(?2 AS INTEGER)")

# As INSERT_BLOCK, but ?2 counts from the end: how many messages the state row counts from the first of these on
APPEND_BLOCK: LiteralString = _put_block("s.message_count - CAST(?2 AS INTEGER)")

# ?1 session id -> (number of stored messages) or no row
SELECT_MESSAGE_COUNT: LiteralString = """
    SELECT message_count
    FROM __agents_states
    WHERE session_id = ?1
"""

# ?1 session id, ?2 first sequence, ?3 most messages, ?4 how many from the end (then ?2 has no effect) or NULL -> (sequence of the
# block's first message, body), in order. Primary keys: reads the blocks of the page alone.
BLOCKS_FROM: LiteralString = f"""
    WITH page AS (
      SELECT
        {first_key("session_no")} AS base,
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
      AND b.id < page.base + min(page.first + CAST(?3 AS INTEGER), {KEYS_PER_SESSION})
    ORDER BY b.id
"""

# ?6 how many messages are added
APPEND_MESSAGES: LiteralString = session_update("message_count = message_count + ?6", messages="message_count + ?6")

# ?6 how many messages stay, ?7 the new epoch of the history. When no more messages are stored, nothing changes.
TRUNCATE_MESSAGES: LiteralString = session_update(
    """history_epoch = CASE WHEN message_count > ?6 THEN ?7 ELSE history_epoch END,
      message_count = min(message_count, ?6)""",
    version="version + (message_count > ?6)",
    messages="min(message_count, ?6)",
    epoch="CASE WHEN message_count > ?6 THEN ?7 ELSE history_epoch END",
)


def _tail(session: LiteralString, count: LiteralString) -> LiteralString:
    """Return the SQL of the last `count` messages of the row `session` of __agents_states: their texts joined by tabs, or NULL.

    It reads the blocks of these messages alone.
    """
    first = first_key(f"{session}.session_no")
    return f"""(
        SELECT group_concat(ordered.text, char(9))
        FROM (
          SELECT m.value AS text
          FROM __agents_message_blocks AS b
          JOIN json_each('[' || replace(b.body, char(9), ',') || ']') AS m
            ON b.id + m.key >= {first} + {session}.message_count - CAST({count} AS INTEGER)
          WHERE b.id >= coalesce(
              (
                SELECT max(c.id)
                FROM __agents_message_blocks AS c
                WHERE c.id BETWEEN {first}
                  AND {first} + max({session}.message_count - CAST({count} AS INTEGER), 0)
              ),
              {first}
            )
            AND b.id <= {last_key(f"{session}.session_no")}
          ORDER BY b.id, m.key
        ) AS ordered
      )"""


# ?1 session id, ?2 most bytes, ?3 a number of messages: aborts the batch when the last ?3 messages have more bytes. Primary keys.
TAIL_FITS: LiteralString = f"""
    SELECT
      CASE WHEN length(CAST({_tail("s", "?3")} AS BLOB)) > ?2 THEN json_extract('{{}}', 'agents-store ' || json_object(
        'fault', 'long',
        'version', s.version
      )) END AS verdict
    FROM __agents_states AS s
    WHERE s.session_id = ?1
"""

# ?5 the result, or NULL for the texts of the removed messages, ?6 how many are removed, ?7 the new epoch of the history. Without
# messages nothing changes.
POP_MESSAGES: LiteralString = session_update(
    """history_epoch = CASE WHEN message_count > 0 THEN ?7 ELSE history_epoch END,
      message_count = max(message_count - ?6, 0)""",
    version="version + (message_count > 0)",
    messages="max(message_count - ?6, 0)",
    epoch="CASE WHEN message_count > 0 THEN ?7 ELSE history_epoch END",
    result="coalesce(json(?5), " + _tail("__agents_states", "?6") + ")",
)

# ?6 the new number of messages, ?7 the new epoch of the history
REPLACE_MESSAGES: LiteralString = session_update(
    "history_epoch = ?7, message_count = ?6", messages="CAST(?6 AS INTEGER)", epoch="?7"
)

# ?1 session id, ?2 the epoch of a history, 0 if there was no session: aborts the batch if the session has another history. Primary key.
SAME_HISTORY: LiteralString = """
    SELECT
      CASE WHEN coalesce(s.history_epoch, 0) <> ?2 THEN json_extract('{}', 'agents-store ' || json_object(
        'fault', 'removed',
        'message_count', coalesce(s.message_count, 0)
      )) END AS verdict
    FROM (SELECT ?1 AS id) AS wanted
    LEFT JOIN __agents_states AS s ON s.session_id = wanted.id
"""

# ?1 session id, ?2 a number of messages, ?3 1 to count it from the end: aborts the batch when a kept checkpoint counts more messages than
# would stay. The newest checkpoint is enough, because a later one never counts fewer messages. Primary keys.
NO_CHECKPOINT_ABOVE: LiteralString = f"""
    WITH newest AS (
      SELECT
        s.version,
        c.message_count,
        CAST(CASE WHEN ?3 = 1 THEN max(s.message_count - ?2, 0) ELSE ?2 END AS INTEGER) AS staying
      FROM __agents_states AS s
      JOIN __agents_checkpoints AS c
        ON c.id = (
          SELECT x.id
          FROM __agents_checkpoints AS x
          WHERE x.id BETWEEN {FIRST_KEY} AND {LAST_KEY}
            AND x.pruned = 0
          ORDER BY x.id DESC
          LIMIT 1
        )
      WHERE s.session_id = ?1
    )
    SELECT
      CASE WHEN message_count > staying THEN json_extract('{{}}', 'agents-store ' || json_object(
        'fault', 'kept',
        'version', version,
        'message_count', message_count,
        'staying', staying
      )) END AS verdict
    FROM newest
"""

# ?1 session id, ?2 the first sequence to delete, or NULL for the number of messages in the state row
DELETE_LATER_BLOCKS: LiteralString = f"""
    DELETE FROM __agents_message_blocks
    WHERE id IN (
      SELECT b.id
      FROM __agents_states AS s
      JOIN __agents_message_blocks AS b
        ON b.id BETWEEN {FIRST_KEY} + CAST(coalesce(?2, s.message_count) AS INTEGER)
          AND {LAST_KEY}
      WHERE s.session_id = ?1
    )
"""

# ?1 session id. Cuts the last block when the state row counts only a part of it. The lengths of the texts give the place of the cut. When
# no tab stands there, the body would become NULL and the batch is refused: another program has stored JSON that is not compact.
CUT_LAST_BLOCK: LiteralString = f"""
    UPDATE __agents_message_blocks
    SET (count, body) = (
      SELECT cut.kept, CASE WHEN substr(body, cut.length + 1, 1) = char(9) THEN substr(body, 1, cut.length) END
      FROM (
        SELECT count(*) AS kept, sum(length(m.value) + 1) - 1 AS length
        FROM __agents_states AS s
        JOIN json_each('[' || replace(body, char(9), ',') || ']') AS m
          ON m.key < {FIRST_KEY} + s.message_count - __agents_message_blocks.id
        WHERE s.session_id = ?1
      ) AS cut
    )
    WHERE id = (
      SELECT b.id
      FROM __agents_states AS s
      JOIN __agents_message_blocks AS b
        ON b.id = (
          SELECT max(x.id)
          FROM __agents_message_blocks AS x
          WHERE x.id BETWEEN {FIRST_KEY} AND {LAST_KEY}
        )
      WHERE s.session_id = ?1
        AND b.id + b.count > {FIRST_KEY} + s.message_count
    )
"""
