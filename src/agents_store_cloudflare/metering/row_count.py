"""Counts the rows of one call inside a Durable Object, where its statements run, when the caller asks for them."""

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


# A context variable, because calls that wait take turns in one object, and each counts its own statements.
_current: ContextVar[RowCount | None] = ContextVar("agents_store_row_count", default=None)


def current_row_count() -> RowCount | None:
    """Return the count of the call that runs now, or None when nobody counts."""
    return _current.get()


def count_rows(*, read: int = 0, written: int = 0) -> None:
    """Add rows to the count of the call that runs now, if somebody counts."""
    count = _current.get()
    if count is not None:
        count.add(read=read, written=written)


class AnswersAtOnce(Protocol):
    """Logic that makes most of its replies without waiting. A coroutine would cost more than the reply itself."""

    def answer(self, request: str) -> str | Awaitable[str]:
        """Return the reply of `ObjectLogic.call`, or an awaitable of it."""
        ...

    async def call(self, request: str) -> str:
        """Answer one request text with one reply text, as `ObjectLogic.call` does."""
        ...

    async def alarm(self) -> None:
        """Do the work that is due now, as `ObjectLogic.alarm` does."""
        ...


def answer_at_once(logic: AnswersAtOnce, request: str) -> str | Awaitable[str]:
    """Return the reply of `logic.answer`. If the request asks for rows, the reply has them."""
    return answer(logic, request) if asks_for_rows(request) else logic.answer(request)


async def answer(logic: ObjectLogic, request: str) -> str:
    """Return the reply of `logic.call`. If the request asks for rows, the reply has them."""
    if not asks_for_rows(request):
        return await logic.call(request)
    count = RowCount()
    token = _current.set(count)
    try:
        reply = await logic.call(request)
    finally:
        _current.reset(token)
    return with_rows(reply, count.read, count.written)
