"""The adapters' tables whose rows belong to sessions: they are deleted, copied and checked with their session."""

from __future__ import annotations

from typing import Final, LiteralString

__all__ = ["SESSION_TABLES"]

SESSION_TABLES: Final[tuple[LiteralString, ...]] = (
    "__agents_graph_checkpoints",
    "__agents_graph_lines",
)
"""Each has a text column `session_id`, which is the beginning of its primary key. A migration of the package makes it.

`delete_session` and `cleanup_expired_sessions` delete its rows in their transaction, also where the id has no session. `export_session`
copies them. The schema check of `doctor` covers them as every table.
"""
