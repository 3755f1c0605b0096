"""The error of the adapter."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from agents_store_cloudflare.adapters.errors import ForeignValueError
from agents_store_cloudflare.contract.errors import D1StateError, StaleStateError

__all__ = ["ForeignValueError", "StaleHeadError", "StaleItemError", "WideSearchError"]


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


@dataclass(eq=False, repr=False)
class StaleItemError(D1StateError):
    """Somebody else wrote or deleted an item since this store read or wrote it, or it expired; nothing was written.

    Attributes:
        namespace: the labels of the item's namespace.
        key: the item's key.
    """

    code = "stale_item"
    http_status = 409

    namespace: list[str]
    key: str

    def _describe(self) -> str:
        return f"item {self.key!r} of {tuple(self.namespace)!r} is not the one any more that this store saw last; read it again"


@dataclass(eq=False, repr=False)
class WideSearchError(D1StateError):
    """A search, or a list of namespaces, looked at as many rows as it may and is not complete.

    Attributes:
        prefix: the namespaces that it looked at begin with these labels.
        rows: how many rows, or namespaces, it may look at.
    """

    code = "wide_search"
    http_status = 422

    prefix: list[str]
    rows: int

    def _describe(self) -> str:
        return (
            f"below {tuple(self.prefix)!r} there are more than {self.rows:,} rows, and the first of them do not fill the answer: "
            "name a narrower namespace, or make D1Store with a larger search_rows"
        )
