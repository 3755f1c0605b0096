"""The error of the adapter."""

from __future__ import annotations

from dataclasses import dataclass

from agents_store_cloudflare.contract.errors import D1StateError

__all__ = ["OrphanToolOutputError"]


@dataclass(eq=False, repr=False)
class OrphanToolOutputError(D1StateError):
    """The items have a tool's output without an earlier call; nothing was written.

    A model refuses a history with such an output, so the session would fail at each later run.

    Attributes:
        session_id: the session.
        call_ids: the ids of the missing calls.
    """

    code = "orphan_tool_output"
    http_status = 409

    session_id: str
    call_ids: list[str]

    def _describe(self) -> str:
        return (
            f"session {self.session_id!r} has no call for the tool output of {', '.join(map(repr, self.call_ids))}; "
            "add the call before its output, or both in one add_items"
        )
