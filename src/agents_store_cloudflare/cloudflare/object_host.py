"""The platform of one Durable Object, from its `ctx`."""

from __future__ import annotations

from collections.abc import Callable

from agents_store_cloudflare.cloudflare.namespace import CloudflareNamespace
from agents_store_cloudflare.cloudflare.object_sql import CloudflareSql
from agents_store_cloudflare.cloudflare.raw import JsObject, raw_binding
from agents_store_cloudflare.contract.arguments import system_now_ms
from agents_store_cloudflare.database import (
    ObjectSql,
)
from agents_store_cloudflare.metering.row_count import count_rows
from agents_store_cloudflare.objects import EventBody, ObjectNamespace, ObjectSocket, Outbound

__all__ = ["CloudflareHost"]

_LAST_ALARM_MS = 6_900_000_000_000  # the year 2188; an alarm that rings too early is set again


class CloudflareHost:
    """The platform of one Durable Object, from its `ctx`."""

    def __init__(self, ctx: JsObject, env: JsObject = None) -> None:
        self._ctx = ctx
        self._env = env
        self._storage = raw_binding(ctx.storage)
        self.sql: ObjectSql = CloudflareSql(self._storage)

    def now_ms(self) -> int:
        """Return the time of JavaScript's clock in milliseconds since 1970, without a call into JavaScript."""
        return system_now_ms()

    def set_alarm(self, at_ms: int | None) -> None:
        """Set the time of the next alarm, or take the alarm away with None.

        The write is part of the current event: the output gate holds replies until it is durable.
        """
        count_rows(written=1)
        if at_ms is None:
            self._storage.deleteAlarm()
        else:
            # The platform refuses a time beyond its range, but only in a promise that nobody awaits.
            self._storage.setAlarm(max(1, min(at_ms, _LAST_ALARM_MS)))

    def call_later(self, delay_ms: int, callback: Callable[[], None]) -> Callable[[], None]:
        """Call a function once after a delay, by setTimeout, and return a function that cancels the call.

        A cancelled timer is gone, so the object can hibernate. A timer of asyncio would stay.
        """
        from js import clearTimeout, setTimeout
        from pyodide.ffi import create_proxy

        pending = True

        def fire() -> None:
            nonlocal pending
            pending = False
            try:
                callback()
            finally:
                # A proxy must not be destroyed while JavaScript runs it, so the next turn of the event loop destroys it.
                _destroy_later(proxy)

        def cancel() -> None:
            nonlocal pending
            if pending:
                pending = False
                clearTimeout(handle)
                proxy.destroy()

        proxy: JsObject = create_proxy(fire)
        handle: JsObject = setTimeout(proxy, delay_ms)
        return cancel

    def siblings(self) -> ObjectNamespace:
        """Return the namespace of this object: the binding that knows the object's id. The binding may have any name.

        Raises:
            RuntimeError: no binding knows the object's id.
        """
        from js import Object
        from pyodide.ffi import JsException

        raw = getattr(self._env, "_env", self._env)
        for binding in Object.values(raw):
            if hasattr(binding, "idFromString"):
                try:
                    binding.idFromString(self._ctx.id.toString())
                except JsException:
                    continue  # another class's namespace
                return CloudflareNamespace(binding)
        raise RuntimeError("no binding of this Worker leads to the object's own class")

    def outbound(self) -> Outbound:
        """Return the way to other servers, by `fetch` and Web Crypto."""
        from agents_store_cloudflare.cloudflare.outbound import CloudflareOutbound

        return CloudflareOutbound()

    def event_body(self) -> EventBody:
        """Return a new response body with room for about 256 KB. The object cannot hibernate while it is open."""
        from agents_store_cloudflare.cloudflare.event_body import SseBody

        return SseBody()

    def accept_socket(self) -> tuple[ObjectSocket, object]:
        """Make a WebSocket by the hibernation API, and return the server's end and the client's end."""
        from js import WebSocketPair, WebSocketRequestResponsePair

        from agents_store_cloudflare.cloudflare.web_socket import CloudflareSocket

        pair = WebSocketPair.new()
        client, server = getattr(pair, "0"), getattr(pair, "1")
        self._ctx.setWebSocketAutoResponse(WebSocketRequestResponsePair.new("ping", "pong"))
        self._ctx.acceptWebSocket(server)
        return CloudflareSocket(server), client

    def sockets(self) -> list[ObjectSocket]:
        """Return the open WebSockets, also those that were open before a hibernation."""
        from agents_store_cloudflare.cloudflare.web_socket import CloudflareSocket

        return [CloudflareSocket(socket) for socket in self._ctx.getWebSockets()]


def _destroy_later(proxy: JsObject) -> None:
    from js import queueMicrotask
    from pyodide.ffi import create_once_callable

    queueMicrotask(create_once_callable(proxy.destroy))
