"""Clocks for `LocalObjects`: the real one, and one that tests move by hand."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Protocol

from agents_store_cloudflare.contract.arguments import system_now_ms

__all__ = ["Clock", "FakeClock", "SystemClock"]


class Clock(Protocol):
    """The time of objects in process. They read it, and wait by it."""

    def now_ms(self) -> int:
        """Return the time in milliseconds since 1970."""
        ...

    def call_at(self, at_ms: int, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` once at that time. Return a function that cancels the call."""
        ...


class SystemClock(Clock):
    """The machine's time."""

    def now_ms(self) -> int:
        return system_now_ms()

    def call_at(self, at_ms: int, callback: Callable[[], None]) -> Callable[[], None]:
        delay = max(0, at_ms - self.now_ms()) / 1000
        return asyncio.get_running_loop().call_later(delay, callback).cancel

    async def advance(self, seconds: float) -> None:
        """Move the time on, and make the due calls in order. Between two calls, every task that can run runs."""
        await asyncio.sleep(seconds)


class FakeClock(Clock):
    """A clock that stands still until `advance` moves it. So tests of waiting neither sleep nor depend on chance."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = now_ms
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._cancelled: set[int] = set()

    def now_ms(self) -> int:
        return self._now_ms

    def call_at(self, at_ms: int, callback: Callable[[], None]) -> Callable[[], None]:
        ticket = next(self._order)
        heapq.heappush(self._due, (at_ms, ticket, callback))
        return lambda: self._cancelled.add(ticket)

    async def sleep(self, seconds: float) -> None:
        """Wait until `advance` has moved the time this far. Pass it to options named `sleep`."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not woken.done():  # cancelled, and not yet come to its `finally`
                woken.set_result(None)

        cancel = self.call_at(self._now_ms + round(seconds * 1000), wake)
        try:
            await woken
        finally:
            cancel()

    def set(self, now_ms: int) -> None:
        """Jump to a time, forwards or backwards, and call nothing, as when a machine's clock is corrected."""
        self._now_ms = now_ms

    async def advance(self, seconds: float) -> None:
        """Move the time on, and make the due calls in order. Between two calls, every task that can run runs."""
        end_ms = self._now_ms + round(seconds * 1000)
        await _settle()
        while self._due and self._due[0][0] <= end_ms:
            at_ms, ticket, callback = heapq.heappop(self._due)
            if ticket in self._cancelled:
                self._cancelled.remove(ticket)
                continue
            self._now_ms = max(self._now_ms, at_ms)
            callback()
            await _settle()
        self._now_ms = max(self._now_ms, end_ms)
        await _settle()


async def _settle() -> None:
    for _ in range(25):
        await asyncio.sleep(0)
