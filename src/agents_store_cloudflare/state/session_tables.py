"""The adapters' tables whose rows belong to sessions: they are deleted, copied and checked with their session."""

from __future__ import annotations

from typing import Final, LiteralString

__all__ = ["SESSION_TABLES", "SHARED_TABLES"]

SESSION_TABLES: Final[tuple[LiteralString, ...]] = (
    "__agents_graph_checkpoints",
    "__agents_graph_lines",
    "__agents_conversations",
)
"""Each has a text column `session_id`, which is the beginning of its primary key. A migration of the package makes it.

`delete_session` and `cleanup_expired_sessions` delete its rows in their transaction, also where the id has no session. `export_session`
copies them. The schema check of `doctor` covers them as every table.
"""

SHARED_TABLES: Final[tuple[LiteralString, ...]] = ("__agents_conversation_entries",)
"""Tables whose rows several sessions may reach. A trigger on the session's own row deletes what no session reaches any more.

`export_session` copies what the session reaches; an import leaves rows alone that are there.
"""
