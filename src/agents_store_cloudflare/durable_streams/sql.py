"""The SQL of forks and tellings: the names of a source's forks, the pages of a fork during its copy, and the mark of a stream that
a subscription covers.
"""

from __future__ import annotations

from typing import LiteralString

__all__ = [
    "CREATE_FORKS",
    "CREATE_INCOMING",
    "CREATE_TOLD",
    "DELETE_FORK",
    "DELETE_TOLD",
    "DROP_INCOMING",
    "INSERT_FORK",
    "INSERT_INCOMING",
    "INSERT_TOLD",
    "SELECT_FORKS_AFTER",
    "SELECT_FORK_COUNT",
    "SELECT_INCOMING",
    "SELECT_INCOMING_KEYS",
    "SELECT_INCOMING_LATEST",
    "SELECT_TOLD",
]

# One row for each fork of this stream that was begun and is not known to be gone.
CREATE_FORKS: LiteralString = """
CREATE TABLE IF NOT EXISTS forks (
  fork_id TEXT PRIMARY KEY,
  noted_at INTEGER NOT NULL
) WITHOUT ROWID
"""

# ?1 the fork's stream id, ?2 now in ms. A fork that is noted twice is one row.
INSERT_FORK: LiteralString = """
INSERT INTO forks (fork_id, noted_at)
VALUES (?1, ?2)
ON CONFLICT (fork_id) DO UPDATE SET noted_at = excluded.noted_at
"""

# ?1 the fork's stream id. By key.
DELETE_FORK: LiteralString = """
DELETE FROM forks
WHERE fork_id = ?1
"""

# ?1 a stream id, ?2 how many. The forks after this id, in order, and when they were noted; by key.
SELECT_FORKS_AFTER: LiteralString = """
SELECT fork_id, noted_at
FROM forks
WHERE fork_id > ?1
ORDER BY fork_id
LIMIT ?2
"""

# ?1 a limit. The number of forks, counted up to the limit.
SELECT_FORK_COUNT: LiteralString = """
SELECT COUNT(*)
FROM (
  SELECT fork_id
  FROM forks
  LIMIT ?1
)
"""

# The pages of a fork that is being copied: messages joined by newlines, by page number. `token` names the attempt. Page -1
# holds the names of the source and of the fork as JSON.
CREATE_INCOMING: LiteralString = """
CREATE TABLE IF NOT EXISTS incoming (
  page INTEGER PRIMARY KEY,
  token TEXT NOT NULL,
  taken_at INTEGER NOT NULL,
  body TEXT NOT NULL
)
"""

# No parameters. Deletes the pages of an attempt.
DROP_INCOMING: LiteralString = """
DROP TABLE IF EXISTS incoming
"""

# ?1 page, ?2 token, ?3 now in ms, ?4 body. A page that arrives twice is stored once.
INSERT_INCOMING: LiteralString = """
INSERT OR REPLACE INTO incoming (page, token, taken_at, body)
VALUES (?1, ?2, ?3, ?4)
"""

# ?1 token. The numbers of the pages of one attempt, in order; reads every row of the table.
SELECT_INCOMING_KEYS: LiteralString = """
SELECT page
FROM incoming
WHERE token = ?1
  AND page >= 0
ORDER BY page
"""

# ?1 page. One body, by its key.
SELECT_INCOMING: LiteralString = """
SELECT body
FROM incoming
WHERE page = ?1
"""

# No parameters. When the last page came, in ms; reads the end of the key. The statement fails when no copy runs, because the table
# is missing.
SELECT_INCOMING_LATEST: LiteralString = """
SELECT taken_at
FROM incoming
ORDER BY page DESC
LIMIT 1
"""

# One row with the stream's path, because an object that an alarm has woken does not know its path.
CREATE_TOLD: LiteralString = """
CREATE TABLE IF NOT EXISTS told (
  path TEXT PRIMARY KEY
) WITHOUT ROWID
"""

# ?1 path.
INSERT_TOLD: LiteralString = """
INSERT INTO told (path)
VALUES (?1)
ON CONFLICT (path) DO NOTHING
"""

# No parameters. The statement fails until the index has asked, because the table is missing.
SELECT_TOLD: LiteralString = """
SELECT path
FROM told
"""

# No parameters. One row at most.
DELETE_TOLD: LiteralString = """
DELETE FROM told
"""
