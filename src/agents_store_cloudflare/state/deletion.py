"""Deleting sessions with all that hangs on them, as one batch."""

from __future__ import annotations

from typing import LiteralString

from agents_store_cloudflare.database import SqlValue, Statement

__all__ = ["DELETES", "DELETE_USAGE", "deletion"]

# What is deleted: a session, or those that expired, each with its descendants. UNION keeps a cycle of parents from going round.
# ?1 session id or NULL, ?2 now or NULL, ?3 most expired sessions. Primary key, partial indexes on expires_at and on
# parent_session_id.
_TREE: LiteralString = """
    WITH RECURSIVE tree (session_id) AS (
      SELECT session_id
      FROM (
        SELECT session_id FROM __agents_states WHERE session_id = ?1
        UNION ALL
        SELECT session_id FROM (
          SELECT session_id FROM __agents_states WHERE expires_at <= ?2 ORDER BY expires_at LIMIT ?3
        )
      )
      UNION
      SELECT child.session_id
      FROM tree
      JOIN __agents_states AS child ON child.parent_session_id = tree.session_id
    )
"""

DELETES: tuple[LiteralString, ...] = (
    _TREE
    + """
    DELETE FROM __agents_message_blocks
    WHERE id IN (
      SELECT b.id
      FROM tree
      JOIN __agents_states AS s ON s.session_id = tree.session_id
      JOIN __agents_message_blocks AS b
        ON b.id BETWEEN s.session_no * 16777216 AND s.session_no * 16777216 + 16777215
    )
    """,
    _TREE
    + """
    DELETE FROM __agents_checkpoints
    WHERE id IN (
      SELECT c.id
      FROM tree
      JOIN __agents_states AS s ON s.session_id = tree.session_id
      JOIN __agents_checkpoints AS c
        ON c.id BETWEEN s.session_no * 16777216 AND s.session_no * 16777216 + 16777215
    )
    """,
    _TREE
    + """
    DELETE FROM __agents_states
    WHERE session_id IN (SELECT session_id FROM tree)
    RETURNING session_id
    """,
)
"""In this order; the last one gives the ids that were deleted."""

DELETE_USAGE: LiteralString = (
    _TREE
    + """
    DELETE FROM __agents_usage
    WHERE session_id IN (SELECT session_id FROM tree)
    """
)


def deletion(session_id: str | None, *, expired_at: int | None = None, limit: int = 0, usage: bool) -> list[Statement]:
    """The statements that delete one session's tree, or those of up to `limit` sessions that expired by `expired_at`."""
    parameters: tuple[SqlValue, ...] = (session_id, expired_at, limit)
    first: tuple[LiteralString, ...] = (DELETE_USAGE,) if usage else ()
    return [Statement(sql, parameters) for sql in (*first, *DELETES)]
