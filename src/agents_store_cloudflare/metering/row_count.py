"""What one call to a Durable Object costs inside it, counted where its statements run, when the caller asks."""

from __future__ import annotations

from collections.abc import Awaitable
from contextvars import ContextVar
from typing import Protocol

from agents_store_cloudflare.objects import ObjectLogic
from agents_store_cloudflare.objects.rpc_text import asks_for_rows, with_rows

__all__ = ["AnswersAtOnce", "RowCount", "answer", "answer_at_once", "count_rows", "current_row_count"]


class RowCount:
    """The rows of one call so far."""

    __slots__ = ("read", "written")

    def __init__(self) -> None:
        self.read: int = 0
        self.written: int = 0

    def add(self, *, read: int = 0, written: int = 0) -> None:
        """Count rows of one statement."""
        self.read += read
        self.written += written


# A context, not a field of the object: calls that wait take turns, and each pays for its own statements.
_current: ContextVar[RowCount | None] = ContextVar("agents_store_row_count", default=None)


def current_row_count() -> RowCount | None:
    """Where the statement that runs now is to be counted; None, almost always: then there is nothing to do."""
    return _current.get()


def count_rows(*, read: int = 0, written: int = 0) -> None:
    """Count rows that need no asking for, where somebody counts."""
    count = _current.get()
    if count is not None:
        count.add(read=read, written=written)


class AnswersAtOnce(Protocol):
    """Logic that makes most of its replies without waiting: a coroutine costs the platform more than they do."""

    def answer(self, request: str) -> str | Awaitable[str]:
        """The reply of `ObjectLogic.call`, at once unless it must be waited for."""
        ...

    async def call(self, request: str) -> str:
        """`ObjectLogic.call`."""
        ...

    async def alarm(self) -> None:
        """`ObjectLogic.alarm`."""
        ...


def answer_at_once(logic: AnswersAtOnce, request: str) -> str | Awaitable[str]:
    """`logic.answer`; where the request asks for it, the reply tells the rows."""
    return answer(logic, request) if asks_for_rows(request) else logic.answer(request)


async def answer(logic: ObjectLogic, request: str) -> str:
    """`logic.call`; where the request asks for it, the reply tells the rows."""
    if not asks_for_rows(request):
        return await logic.call(request)
    count = RowCount()
    token = _current.set(count)
    try:
        reply = await logic.call(request)
    finally:
        _current.reset(token)
    return with_rows(reply, count.read, count.written)
