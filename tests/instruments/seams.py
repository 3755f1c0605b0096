"""The seams of the package, counted and disturbed: each call of a database or a namespace is one place."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from agents_store_cloudflare.database import Database, Row, SqlError, Statement
from agents_store_cloudflare.objects import ObjectCallError
from agents_store_cloudflare.testing import LocalObjects
from agents_store_cloudflare.testing.faults import LOST

__all__ = ["Seam", "WatchedDatabase", "WatchedNamespace"]


T = TypeVar("T")


class Seam:
    """Counts calls; loses the reply of one of them, after others have acted."""

    def __init__(self) -> None:
        self.calls = 0
        self._at: int | None = None
        self._is_lost = False
        self._stays_away = False
        self._between: Callable[[], Awaitable[object]] | None = None

    def interrupt(self, index: int, between: Callable[[], Awaitable[object]], *, is_lost: bool = True) -> None:
        """After the call with this number, counted from now on, `between` runs before the caller hears of it.

        Args:
            is_lost: the caller hears of nothing but that the connection broke.
        """
        self.calls = 0
        self._at, self._between, self._is_lost = index, between, is_lost

    def break_off(self, index: int) -> None:
        """The call with this number, counted from now on, has its effect and no reply; those after it are not even sent."""
        self.calls = 0
        self._at, self._between, self._is_lost, self._stays_away = index, _nothing, True, True

    def restore(self) -> None:
        """From now on all calls are sent and answered."""
        self._at, self._stays_away = None, False

    async def pass_through(self, send: Callable[[], Awaitable[T]], lost: Exception) -> T:
        """Return the reply of `send`, or make the ordered failure."""
        index, self.calls = self.calls, self.calls + 1
        if self._stays_away and self._at is None:
            raise lost
        if index != self._at or self._between is None:
            return await _travelling(send)
        self._at = None
        try:
            reply = await _travelling(send)
        except (SqlError, ObjectCallError):
            await self._between()
            if self._is_lost:  # a refusal is a reply too, and is lost with it
                raise lost from None
            raise
        await self._between()
        if self._is_lost:
            raise lost
        return reply


async def _nothing() -> None:
    """Do nothing, because nobody acts."""


async def _travelling(send: Callable[[], Awaitable[T]]) -> T:
    """Return the reply after other tasks have run. A call that is cancelled there has had its effect."""
    reply = await send()
    await asyncio.sleep(0)
    return reply


class WatchedDatabase:
    """A database behind a seam."""

    def __init__(self, database: Database, seam: Seam) -> None:
        self._database = database
        self._seam = seam

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        return await self._seam.pass_through(lambda: self._database.batch(statements), SqlError(LOST))


class WatchedNamespace:
    """Objects behind a seam. HTTP does not go through the seam."""

    def __init__(self, objects: LocalObjects, seam: Seam) -> None:
        self._objects = objects
        self._seam = seam

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objects, name)

    async def call(self, name: str, request: str) -> str:
        lost = ObjectCallError("Network connection lost.", retryable=True)
        return await self._seam.pass_through(lambda: self._objects.call(name, request), lost)
