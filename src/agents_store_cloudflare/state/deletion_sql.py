"""The SQL that deletes sessions. Staged changes, runs and references go with the state row (ON DELETE CASCADE)."""

from __future__ import annotations

from typing import LiteralString

from agents_store_cloudflare.usage.deletion_sql import deletion_of

__all__ = [
    "DELETE_BLOCKS",
    "DELETE_CHECKPOINTS",
    "DELETE_STATES",
    "DELETE_USAGE",
    "DELETION_IS_NEW",
    "REMEMBER_DELETION",
    "REMOTE_SUB_SESSIONS",
    "SELECT_TREE",
]

# A session, or those that expired, each with its descendants. UNION keeps a cycle of parents from going round. A child to which its
# parent refers as remote is somebody else's.
# ?1 session id or NULL, ?2 now or NULL, ?3 most expired sessions. Primary keys, partial indexes on expires_at and on
# parent_session_id.
_TREE: LiteralString = """
    WITH RECURSIVE tree (session_id, session_no) AS (
      SELECT session_id, session_no
      FROM (
        SELECT session_id, session_no FROM __agents_states WHERE session_id = ?1
        UNION ALL
        SELECT session_id, session_no FROM (
          SELECT session_id, session_no FROM __agents_states WHERE expires_at <= ?2 ORDER BY expires_at LIMIT ?3
        )
      )
      UNION
      SELECT child.session_id, child.session_no
      FROM tree
      JOIN __agents_states AS child ON child.parent_session_id = tree.session_id
      WHERE NOT EXISTS (
        SELECT 1
        FROM __agents_sub_sessions AS r
        WHERE r.session_no = tree.session_no
          AND r.sub_session_id = child.session_id
          AND r.location = 'remote'
      )
    )
"""

# -> (session id, stream id)
SELECT_TREE: LiteralString = (
    _TREE
    + """
    SELECT tree.session_id, coalesce(s.stream_id, tree.session_id) AS stream_id
    FROM tree
    JOIN __agents_states AS s ON s.session_id = tree.session_id
    """
)

# -> (sub-session id) of the sub-agents elsewhere
REMOTE_SUB_SESSIONS: LiteralString = (
    _TREE
    + """
    SELECT r.sub_session_id
    FROM tree
    JOIN __agents_sub_sessions AS r ON r.session_no = tree.session_no
    WHERE r.location = 'remote'
    """
)

DELETE_BLOCKS: LiteralString = (
    _TREE
    + """
    DELETE FROM __agents_message_blocks
    WHERE id IN (
      SELECT b.id
      FROM tree
      JOIN __agents_message_blocks AS b
        ON b.id BETWEEN tree.session_no * 16777216 AND tree.session_no * 16777216 + 16777215
    )
    """
)

DELETE_CHECKPOINTS: LiteralString = (
    _TREE
    + """
    DELETE FROM __agents_checkpoints
    WHERE id IN (
      SELECT c.id
      FROM tree
      JOIN __agents_checkpoints AS c
        ON c.id BETWEEN tree.session_no * 16777216 AND tree.session_no * 16777216 + 16777215
    )
    """
)

# The usage of the sessions, with its share of the totals.
DELETE_USAGE: tuple[LiteralString, ...] = deletion_of(_TREE)

# -> (session id) of each that is deleted. Last of all: the others find the tree by these rows.
DELETE_STATES: LiteralString = (
    _TREE
    + """
    DELETE FROM __agents_states
    WHERE session_id IN (SELECT session_id FROM tree)
    RETURNING session_id
    """
)

# ?1 session id, ?2 commit id: aborts the batch when that deletion has taken place. Primary key.
DELETION_IS_NEW: LiteralString = """
    SELECT
      CASE WHEN deletion ->> 0 = ?2 THEN json_extract('{}', 'agents-store ' || json_object(
        'fault', 'deleted',
        'deleted', deletion ->> 1
      )) END AS verdict
    FROM __agents_fences
    WHERE session_id = ?1
"""

# ?1 session id, ?2 commit id. Before the deletion: keeps whether there is anything to delete.
REMEMBER_DELETION: LiteralString = """
    INSERT INTO __agents_fences (session_id, token, deletion)
    VALUES (?1, 0, json_array(?2, (SELECT count(*) FROM __agents_states WHERE session_id = ?1)))
    ON CONFLICT (session_id) DO UPDATE SET deletion = excluded.deletion
"""
