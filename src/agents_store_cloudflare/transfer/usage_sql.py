"""The SQL that shows whether the usage of a session has changed while it was copied."""

from __future__ import annotations

from typing import LiteralString

__all__ = ["SELECT_MARK"]

# ?1 session id -> (its totals as one text, the key of its newest entry). Each change of the session's usage changes one of them, because
# entries count in the totals. Primary key of the totals; index on session_id, backwards: one row.
SELECT_MARK: LiteralString = """
    SELECT
      (
        SELECT group_concat(line, char(10))
        FROM (
          SELECT
            quote(kept) || quote(kind) || quote(name) || quote(first_timestamp) || quote(last_timestamp) || quote(amounts) AS line
          FROM __agents_usage_by_session
          WHERE session_id = ?1
          ORDER BY kept, kind, name
        )
      ) AS totals,
      (
        SELECT rowid
        FROM __agents_usage
        WHERE session_id = ?1
        ORDER BY session_id DESC, rowid DESC
        LIMIT 1
      ) AS newest
"""
