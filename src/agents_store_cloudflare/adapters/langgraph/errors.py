"""The error of the adapter."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from agents_store_cloudflare.adapters.errors import ForeignValueError
from agents_store_cloudflare.contract.errors import StaleStateError

__all__ = ["ForeignValueError", "StaleHeadError"]


@dataclass(eq=False, repr=False)
class StaleHeadError(StaleStateError):
    """Somebody else has put a checkpoint since this saver last saw the thread; nothing was written.

    Attributes:
        session_id: the thread's id.
        checkpoint_ns: the namespace within the thread.
        expected_head: id of the newest checkpoint that this saver saw, "" for none.
        actual_head: id of the newest checkpoint that is stored, "" for none.
    """

    code = "stale_head"

    _: KW_ONLY
    reason: str = "head"
    expected: int | None = None
    actual: int | None = None
    checkpoint_ns: str
    expected_head: str
    actual_head: str

    def _describe(self) -> str:
        return (
            f"thread {self.session_id!r} is stale: the newest checkpoint of namespace {self.checkpoint_ns!r} is "
            f"{self.actual_head!r}, this saver last saw {self.expected_head!r}; load the thread again and run it again"
        )
