"""Durable Objects in one process of CPython: the same logic, its SQLite, its alarms, no Workers runtime."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from agents_store_cloudflare.objects import ObjectCallError, ObjectHost, ObjectLogic
from agents_store_cloudflare.testing.clock import Clock, SystemClock
from agents_store_cloudflare.testing.sqlite import SqliteObjectSql

__all__ = ["LocalObjects"]


class LocalObjects:
    """A Durable Object binding in process: pass it where a Worker passes `env.STREAMS` or `env.LOCKS`.

    Example:
        >>> streams = LocalObjects(StreamObject)
        >>> manager = DurableObjectStreamManager(stream_namespace=streams)

    Args:
        logic: what the objects do, e.g. `StreamObject` or `LockObject`.
        clock: a `FakeClock` for tests of time; the machine's otherwise.
        folder: where the objects keep their databases; in memory when absent.

    Attributes:
        calls: how many calls reached an object, for tests that count round trips.
    """

    def __init__(
        self, logic: Callable[[ObjectHost], ObjectLogic], *, clock: Clock | None = None, folder: Path | None = None
    ) -> None:
        self._logic = logic
        self._clock = clock or SystemClock()
        self._folder = folder
        self._hosts: dict[str, _Host] = {}
        self.calls: int = 0

    async def call(self, name: str, request: str) -> str:
        """`ObjectNamespace.call`."""
        self.calls += 1
        await asyncio.sleep(0)  # a call is a round trip: others may run in between
        return await self._host(name).call(request)

    def restart(self) -> None:
        """Forget everything the objects hold in memory, as a deploy or an eviction does; their databases stay."""
        for host in self._hosts.values():
            host.evict()

    def close(self) -> None:
        """Close the databases."""
        for host in self._hosts.values():
            host.evict()
            host.sql.close()

    def _host(self, name: str) -> _Host:
        host = self._hosts.get(name)
        if host is None:
            # Names are user text: too long or too odd for a file name.
            path = self._folder / f"{sha256(name.encode()).hexdigest()}.sqlite" if self._folder else ":memory:"
            host = self._hosts[name] = _Host(self._logic, self._clock, SqliteObjectSql(path))
        return host


class _Host:
    """One object's platform."""

    def __init__(self, logic: Callable[[ObjectHost], ObjectLogic], clock: Clock, sql: SqliteObjectSql) -> None:
        self.sql = sql
        self._make_logic = logic
        self._clock = clock
        self._instance: ObjectLogic | None = None
        self._cancel_alarm: Callable[[], None] | None = None
        self._timers: set[Callable[[], None]] = set()
        self._alarms: set[asyncio.Task[None]] = set()
        self._calls: set[asyncio.Task[str]] = set()

    async def call(self, request: str) -> str:
        task = asyncio.get_running_loop().create_task(self._live_call(request))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        try:
            # A caller that goes away does not stop the object's work, here as on the platform.
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise ObjectCallError("the object was reset", retryable=True) from None
            raise

    async def _live_call(self, request: str) -> str:
        return await self.live().call(request)

    def live(self) -> ObjectLogic:
        if self._instance is None:
            self._instance = self._make_logic(self)
        return self._instance

    def evict(self) -> None:
        self._instance = None
        for cancel in self._timers:
            cancel()
        self._timers.clear()
        for call in self._calls:
            call.cancel()

    def now_ms(self) -> int:
        return self._clock.now_ms()

    def set_alarm(self, at_ms: int | None) -> None:
        if self._cancel_alarm is not None:
            self._cancel_alarm()
        self._cancel_alarm = None if at_ms is None else self._clock.call_at(at_ms, self._ring)

    def call_later(self, delay_ms: int, callback: Callable[[], None]) -> Callable[[], None]:
        def fire() -> None:
            self._timers.discard(stop)
            callback()

        def cancel() -> None:
            self._timers.discard(stop)
            stop()

        stop = self._clock.call_at(self.now_ms() + delay_ms, fire)
        self._timers.add(stop)
        return cancel

    def _ring(self) -> None:
        self._cancel_alarm = None
        task = asyncio.ensure_future(self.live().alarm())
        self._alarms.add(task)
        task.add_done_callback(self._alarms.discard)
