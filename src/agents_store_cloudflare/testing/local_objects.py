"""Durable Objects in one process of CPython: the same logic, SQLite and alarms, without the Workers runtime."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from agents_store_cloudflare.database.sqlite import SqliteObjectSql
from agents_store_cloudflare.objects import ObjectCallError, ObjectHost, ObjectLogic, ObjectSocket, Outbound
from agents_store_cloudflare.objects.http_messages import HttpRequest, HttpResponse
from agents_store_cloudflare.testing.clock import Clock, SystemClock
from agents_store_cloudflare.testing.local_wires import LocalEvents, LocalSocket

__all__ = ["LocalObjects"]

T = TypeVar("T")


class LocalObjects:
    """Durable Object bindings in process. Pass it in the place of `env.STREAMS` or `env.LOCKS`.

    Example:
        >>> streams = LocalObjects(StreamObject)
        >>> manager = DurableObjectStreamManager(stream_namespace=streams)

    Args:
        logic: the objects' logic, such as `StreamObject` or `LockObject`.
        clock: a `FakeClock` for tests of time; the machine's clock by default.
        folder: the folder of the objects' databases; they are in memory by default.
        outbound: sends the objects' requests to other servers; without it they send none.

    Attributes:
        calls: how many calls reached an object, for tests that count round trips.
    """

    def __init__(
        self,
        logic: Callable[[ObjectHost], ObjectLogic],
        *,
        clock: Clock | None = None,
        folder: Path | None = None,
        outbound: Outbound | None = None,
    ) -> None:
        self._logic = logic
        self._clock = clock or SystemClock()
        self._folder = folder
        self.outbound: Outbound | None = outbound
        self._hosts: dict[str, _Host] = {}
        self.calls: int = 0

    async def call(self, name: str, request: str) -> str:
        """Send one text to the object called `name` and return its reply."""
        self.calls += 1
        await asyncio.sleep(0)  # a call is a round trip: others may run in between
        return await self._host(name).call(request)

    async def fetch(self, name: str, url: str, headers: Mapping[str, str]) -> HttpResponse:
        """Return the answer to an HTTP GET to the object called `name`. Its body is a `LocalEvents`, its WebSocket a `LocalSocket`."""
        await asyncio.sleep(0)
        return self._host(name).fetch(name, HttpRequest(url=url, headers=headers))

    async def forward(self, name: str, request: HttpRequest, _original: object) -> HttpResponse:
        """Return the answer to a request of the Durable Streams protocol to the object called `name`."""
        await asyncio.sleep(0)
        return await self._host(name).serve(name, request)

    def restart(self) -> None:
        """Forget everything that the objects hold in memory, as a deploy or an eviction does. Their databases stay.

        Connections break.
        """
        for host in self._hosts.values():
            host.evict()

    def hibernate(self) -> None:
        """Forget everything that the objects hold in memory, as the platform does when they are idle. WebSockets stay open.

        Raises:
            RuntimeError: an object has a timer, a call or an open response, which keep it awake.
        """
        for host in self._hosts.values():
            host.hibernate()

    def close(self) -> None:
        """Close the databases."""
        for host in self._hosts.values():
            host.evict()
            host.sql.close()

    def _host(self, name: str) -> _Host:
        host = self._hosts.get(name)
        if host is None:
            # A name is the user's text, and may be too long or unfit for a file name.
            path = self._folder / f"{sha256(name.encode()).hexdigest()}.sqlite" if self._folder else ":memory:"
            host = self._hosts[name] = _Host(self, self._logic, self._clock, SqliteObjectSql(path))
        return host


@runtime_checkable
class _AnswersHttp(Protocol):
    """The logic of an object with listeners."""

    def fetch(self, name: str, request: HttpRequest) -> HttpResponse: ...

    async def serve(self, name: str, request: HttpRequest) -> HttpResponse: ...

    def socket_message(self, socket: ObjectSocket, text: object) -> None: ...

    def socket_closed(self, socket: ObjectSocket, code: int) -> None: ...


class _Host:
    """The platform of one object."""

    def __init__(
        self, objects: LocalObjects, logic: Callable[[ObjectHost], ObjectLogic], clock: Clock, sql: SqliteObjectSql
    ) -> None:
        self._objects = objects
        self.sql = sql
        self._make_logic = logic
        self._clock = clock
        self._instance: ObjectLogic | None = None
        self._cancel_alarm: Callable[[], None] | None = None
        self._timers: set[Callable[[], None]] = set()
        self._alarms: set[asyncio.Task[None]] = set()
        self._calls: set[asyncio.Task[str]] = set()
        self._serving: set[asyncio.Task[HttpResponse]] = set()
        self._bodies: list[LocalEvents] = []
        self._sockets: list[LocalSocket] = []

    async def call(self, request: str) -> str:
        return await _detached(self._live_call(request), self._calls)

    async def _live_call(self, request: str) -> str:
        return await self.live().call(request)

    def live(self) -> ObjectLogic:
        if self._instance is None:
            self._instance = self._make_logic(self)
        return self._instance

    def fetch(self, name: str, request: HttpRequest) -> HttpResponse:
        return self._listened_to().fetch(name, request)

    async def serve(self, name: str, request: HttpRequest) -> HttpResponse:
        return await _detached(self._listened_to().serve(name, request), self._serving)

    def siblings(self) -> LocalObjects:
        return self._objects

    def outbound(self) -> Outbound:
        if self._objects.outbound is None:
            raise RuntimeError("objects in process send nothing into the world; give LocalObjects an outbound")
        return self._objects.outbound

    def event_body(self) -> LocalEvents:
        self._bodies = [body for body in self._bodies if body.is_open]
        self._bodies.append(LocalEvents())
        return self._bodies[-1]

    def accept_socket(self) -> tuple[ObjectSocket, LocalSocket]:
        socket = LocalSocket(self._on_message, self._on_close)
        self._sockets.append(socket)
        return socket.server, socket

    def sockets(self) -> list[ObjectSocket]:
        self._sockets = [socket for socket in self._sockets if socket.is_open]
        return [socket.server for socket in self._sockets if socket.can_hear]

    def hibernate(self) -> None:
        if self._timers or self._calls or self._serving or any(body.is_open for body in self._bodies):
            raise RuntimeError("a timer, a call or an open response keeps the object awake")
        self._instance = None

    def _on_message(self, socket: ObjectSocket, text: str) -> None:
        self._listened_to().socket_message(socket, text)

    def _on_close(self, socket: ObjectSocket, code: int) -> None:
        self._listened_to().socket_closed(socket, code)

    def _listened_to(self) -> _AnswersHttp:
        logic = self.live()
        if not isinstance(logic, _AnswersHttp):
            raise ObjectCallError("objects of this kind answer no HTTP")
        return logic

    def evict(self) -> None:
        self._instance = None
        for body in self._bodies:
            body.close()
        for socket in self._sockets:
            socket.break_off()
        for cancel in self._timers:
            cancel()
        self._timers.clear()
        for call in (*self._calls, *self._serving):
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


async def _detached(work: Coroutine[Any, Any, T], running: set[asyncio.Task[T]]) -> T:
    """Return the result of `work`. When the caller goes away, the object's work goes on, as on the platform."""
    task = asyncio.get_running_loop().create_task(work)
    running.add(task)
    task.add_done_callback(running.discard)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if task.cancelled():
            raise ObjectCallError("the object was reset", retryable=True) from None
        raise
