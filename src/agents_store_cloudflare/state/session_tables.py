"""The adapters' tables whose rows belong to sessions: they are deleted, copied and checked with their session."""

from __future__ import annotations

from typing import Final, LiteralString

__all__ = ["SESSION_TABLES", "SHARED_TABLES"]

SESSION_TABLES: Final[tuple[LiteralString, ...]] = (
    "__agents_graph_checkpoints",
    "__agents_graph_lines",
    "__agents_conversations",
    "__agents_a2a_tasks",
)
"""The adapters' tables.

Each has a text column `session_id` at the beginning of its primary key. A migration of the package makes it.

`delete_session` and `cleanup_expired_sessions` delete the rows in their transaction, also when the id has no session.
`export_session` copies the rows. The schema check of `doctor` covers these tables.
"""

SHARED_TABLES: Final[tuple[LiteralString, ...]] = ("__agents_conversation_entries",)
"""Tables whose rows several sessions may use. A trigger on the session's own row deletes the rows that no session uses any more.

`export_session` copies the rows that the session uses. An import does not change existing rows.
"""
