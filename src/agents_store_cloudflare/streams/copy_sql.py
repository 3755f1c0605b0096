"""The SQL of a stream's copy: pages of its blocks, and a second table that holds a copy until it replaces the stream."""

from __future__ import annotations

from typing import LiteralString

from agents_store_cloudflare.streams.sql import CREATE_BLOCKS

__all__ = [
    "CREATE_ARRIVING",
    "DROP_ARRIVING",
    "DROP_BLOCKS",
    "INSERT_ARRIVING",
    "INSERT_ATTEMPT",
    "RENAME_ARRIVING",
    "SELECT_ARRIVED",
    "SELECT_BLOCKS_AFTER",
    "UPDATE_ATTEMPT",
]

# ?1 a key, ?2 the most blocks. The blocks after the key, without their bodies. By key.
SELECT_BLOCKS_AFTER: LiteralString = """
SELECT first_sequence, count, size_bytes, written_at, writer, writer_sequence
FROM blocks
WHERE first_sequence > ?1
ORDER BY first_sequence
LIMIT ?2
"""

# The same table under another name. Row 0 holds the name of the attempt until the head replaces it.
CREATE_ARRIVING: LiteralString = CREATE_BLOCKS.replace("blocks", "arriving")

# No parameters. Deletes the rows of an earlier attempt.
DROP_ARRIVING: LiteralString = """
DROP TABLE IF EXISTS arriving
"""

# ?1 now in ms, ?2 the name of the attempt.
INSERT_ATTEMPT: LiteralString = """
INSERT INTO arriving (first_sequence, count, size_bytes, written_at, body)
VALUES (0, 0, 0, ?1, ?2)
"""

# ?1 first sequence, ?2 count, ?3 size in bytes, ?4 when it was written, ?5 writer, ?6 writer_sequence, ?7 body. A block that
# arrives twice is stored once.
INSERT_ARRIVING: LiteralString = """
INSERT INTO arriving (first_sequence, count, size_bytes, written_at, writer, writer_sequence, body)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT DO NOTHING
"""

# ?1 the name of the attempt. The number of blocks and of chunks that have arrived. No row if another attempt owns the table. It
# reads the keys of every block.
SELECT_ARRIVED: LiteralString = """
SELECT COUNT(*) - 1, SUM(count)
FROM arriving
WHERE EXISTS (SELECT 1 FROM arriving WHERE first_sequence = 0 AND body = ?1)
"""

# ?1 the head's text.
UPDATE_ATTEMPT: LiteralString = """
UPDATE arriving
SET body = ?1
WHERE first_sequence = 0
"""

# No parameters.
DROP_BLOCKS: LiteralString = """
DROP TABLE IF EXISTS blocks
"""

# No parameters.
RENAME_ARRIVING: LiteralString = """
ALTER TABLE arriving
RENAME TO blocks
"""
