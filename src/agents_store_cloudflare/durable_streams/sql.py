"""The SQL of forks whose source is larger than one call can carry: what has come so far lies beside the stream."""

from __future__ import annotations

from typing import LiteralString

__all__ = ["CREATE_INCOMING", "DROP_INCOMING", "INSERT_INCOMING", "SELECT_INCOMING", "SELECT_INCOMING_KEYS"]

# Pages of a fork under way: messages joined by newlines, by page number; `token` names the attempt.
CREATE_INCOMING: LiteralString = """
CREATE TABLE IF NOT EXISTS incoming (
  page INTEGER PRIMARY KEY,
  token TEXT NOT NULL,
  body TEXT NOT NULL
)
"""

# No parameters. Frees what an attempt has left.
DROP_INCOMING: LiteralString = """
DROP TABLE IF EXISTS incoming
"""

# ?1 page, ?2 token, ?3 body. A page that comes twice is the same page.
INSERT_INCOMING: LiteralString = """
INSERT OR REPLACE INTO incoming (page, token, body)
VALUES (?1, ?2, ?3)
"""

# ?1 token. The pages of one attempt, in order; a scan of a table that holds nothing else.
SELECT_INCOMING_KEYS: LiteralString = """
SELECT page
FROM incoming
WHERE token = ?1
ORDER BY page
"""

# ?1 page. One body, by its key.
SELECT_INCOMING: LiteralString = """
SELECT body
FROM incoming
WHERE page = ?1
"""
