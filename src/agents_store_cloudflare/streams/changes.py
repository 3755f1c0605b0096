"""Calls that wait in a stream's object until the stream changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agents_store_cloudflare.objects import ObjectHost

__all__ = ["Changes"]


class Changes:
    """The calls of one object that wait for a change of its stream."""

    def __init__(self, host: ObjectHost) -> None:
        self._host = host
        self._waiting: set[asyncio.Future[None]] = set()

    def wake(self) -> None:
        """Let every waiting call check its condition again."""
        for change in self._waiting:
            if not change.done():
                change.set_result(None)

    async def until(self, is_there: Callable[[], bool], wait_ms: int) -> None:
        """Return when the condition holds, or when the time is up.

        The platform's timer is used, because a timer of asyncio would outlive the wait.
        """
        time_is_up = asyncio.Event()
        cancel_timer = self._host.call_later(wait_ms, lambda: self._ring(time_is_up))
        try:
            while not time_is_up.is_set() and not is_there():
                await self._next()
        finally:
            cancel_timer()

    def _ring(self, time_is_up: asyncio.Event) -> None:
        time_is_up.set()
        self.wake()

    async def _next(self) -> None:
        change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(change)
        try:
            await change
        finally:
            self._waiting.discard(change)
