"""The SQL of `StreamLog`: one table in the Durable Object's own database. Its cost is the rows that it writes.

Chunks lie in blocks: one row per flush, and its key is the first sequence. Row 0 is the stream's head, because a second table would
cost two more written rows per stream. `body` is the last column, so that scans of the other columns never touch its pages. The key
is an INTEGER PRIMARY KEY: in a WITHOUT ROWID table, a row over about 1,000 bytes needs overflow pages.
"""

from __future__ import annotations

from typing import LiteralString

__all__ = [
    "CREATE_BLOCKS",
    "DELETE_ALL_BLOCKS",
    "DELETE_BLOCKS_BEFORE",
    "INSERT_BLOCK",
    "INSERT_HEAD",
    "SELECT_BODIES",
    "SELECT_CHUNK_COUNT",
    "SELECT_FLUSH",
    "SELECT_HEAD",
    "SELECT_LAST_BLOCK",
    "SELECT_LAST_FROM",
    "SELECT_NEXT_KEY",
    "SELECT_PAGE",
    "SELECT_WRITERS",
    "UPDATE_HEAD",
]

# One row per flush, or several rows for a flush over the block size: `count` chunks from `first_sequence` on, their JSON texts
# joined by newlines. `writer` and `writer_sequence` recognise a repeated flush. Row 0 holds the head (`head.py`).
CREATE_BLOCKS: LiteralString = """
CREATE TABLE blocks (
  first_sequence INTEGER PRIMARY KEY,
  count INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL,
  written_at INTEGER NOT NULL,
  writer TEXT,
  writer_sequence INTEGER,
  body TEXT NOT NULL
)
"""

# ?1 now in ms, ?2 the head's text.
INSERT_HEAD: LiteralString = """
INSERT INTO blocks (first_sequence, count, size_bytes, written_at, body)
VALUES (0, 0, 0, ?1, ?2)
"""

# ?1 the head's text.
UPDATE_HEAD: LiteralString = """
UPDATE blocks
SET body = ?1
WHERE first_sequence = 0
"""

# No parameters. The head's text by its key. The statement fails when there is no stream, because the table is missing.
SELECT_HEAD: LiteralString = """
SELECT body
FROM blocks
WHERE first_sequence = 0
"""

# No parameters. Last sequence and time of the newest block: at most one row, read from the end of the key.
SELECT_LAST_BLOCK: LiteralString = """
SELECT first_sequence + count - 1, written_at
FROM blocks
WHERE first_sequence > 0
ORDER BY first_sequence DESC
LIMIT 1
"""

# No parameters. Per writer its last flush and the last sequence after it (SQLite takes bare columns from the row of
# the maximum). Reads every block once in an object's life, at the first append; bodies are not touched.
SELECT_WRITERS: LiteralString = """
SELECT writer, writer_sequence, MAX(first_sequence + count - 1)
FROM blocks
WHERE writer IS NOT NULL
GROUP BY writer
"""

# ?1 writer, ?2 writer_sequence. The last sequence of a flush, NULL if it is not stored. It reads every block. Only a request that a
# later request has overtaken needs it, which is very rare.
SELECT_FLUSH: LiteralString = """
SELECT MAX(first_sequence + count - 1)
FROM blocks
WHERE writer = ?1
  AND writer_sequence = ?2
"""

# ?1 first sequence, ?2 count, ?3 size in bytes, ?4 now in ms, ?5 writer, ?6 writer_sequence, ?7 body.
INSERT_BLOCK: LiteralString = """
INSERT INTO blocks (first_sequence, count, size_bytes, written_at, writer, writer_sequence, body)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
"""

# ?1 the first wanted sequence, ?2 most bytes. One row: the keys of the page's first and last block, and the page's last sequence;
# NULLs if no block is there. The page ends with the block that reaches ?2, or before numbers that a crash has lost. Up to there
# each key is the page's first key plus the number of chunks before it. By key.
SELECT_PAGE: LiteralString = """
SELECT MIN(first_sequence), MAX(first_sequence), MAX(last_sequence)
FROM (
  SELECT
    first_sequence,
    first_sequence + count - 1 AS last_sequence,
    SUM(size_bytes) OVER (ORDER BY first_sequence) - size_bytes AS bytes_before,
    first_sequence + count - SUM(count) OVER (ORDER BY first_sequence) AS unbroken_from,
    FIRST_VALUE(first_sequence) OVER (ORDER BY first_sequence) AS page_from
  FROM blocks
  WHERE first_sequence >= (SELECT MAX(first_sequence) FROM blocks WHERE first_sequence <= ?1)
  ORDER BY first_sequence
  LIMIT 2000
)
WHERE bytes_before < ?2
  AND unbroken_from = page_from
"""

# ?1 a sequence. The key of the first block after it, NULL if there is none. By key.
SELECT_NEXT_KEY: LiteralString = """
SELECT MIN(first_sequence)
FROM blocks
WHERE first_sequence > ?1
"""

# ?1 a sequence. The last sequence of the block that holds it, otherwise of the newest block before it. 0 if there is none, computed
# from row 0. By key.
SELECT_LAST_FROM: LiteralString = """
SELECT MAX(first_sequence + count - 1, 0)
FROM blocks
WHERE first_sequence <= ?1
ORDER BY first_sequence DESC
LIMIT 1
"""

# ?1 the key of the first block, ?2 the key of the last block. The chunks of these blocks as one text: one value crosses to Python
# instead of one per row.
SELECT_BODIES: LiteralString = """
SELECT GROUP_CONCAT(body, CHAR(10))
FROM (
  SELECT body
  FROM blocks
  WHERE first_sequence BETWEEN ?1 AND ?2
  ORDER BY first_sequence
)
"""

# ?1 a sequence. How many chunks are stored from it on. It reads the keys and counts of these blocks. For streams in which numbers
# are missing.
SELECT_CHUNK_COUNT: LiteralString = """
SELECT COALESCE(SUM(MIN(count, first_sequence + count - ?1)), 0)
FROM blocks
WHERE first_sequence >= (SELECT MAX(first_sequence) FROM blocks WHERE first_sequence <= ?1)
  AND first_sequence + count > ?1
"""

# No parameters. A deleted row counts as a written one.
DELETE_ALL_BLOCKS: LiteralString = """
DELETE FROM blocks
WHERE first_sequence > 0
"""

# ?1 the first sequence that is kept. The block that holds it stays, and all blocks before it are deleted. By key.
DELETE_BLOCKS_BEFORE: LiteralString = """
DELETE FROM blocks
WHERE first_sequence > 0
  AND first_sequence < (SELECT MAX(first_sequence) FROM blocks WHERE first_sequence <= ?1)
"""
