"""The Durable Object class of streams. Name it in wrangler.toml and import it in the Worker's entry module."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any, TypeAlias, cast

from agents_store_cloudflare.durable_objects.listeners import answered_request
from workers import DurableObject

from agents_store_cloudflare.cloudflare.namespace import answered
from agents_store_cloudflare.cloudflare.object_host import CloudflareHost
from agents_store_cloudflare.cloudflare.web_socket import CloudflareSocket
from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.metering.row_count import answer_at_once

JsObject: TypeAlias = Any  # what crosses from JavaScript has no Python type

__all__ = ["StreamServer"]


class _StreamServerType(type):
    """Holds functions that must not be on the class itself, because RPC can call every function of the class."""

    def with_logger(cls, logger: logging.Logger) -> type[StreamServer]:
        """Return a subclass of the same name whose objects log to `logger`. Use it in the entry module:

        Example:
            >>> StreamServer = StreamServer.with_logger(logging.getLogger("my-worker"))
        """
        own = {"_logger": logger, "__module__": cls.__module__, "__doc__": cls.__doc__}
        return cast("type[StreamServer]", type(cls)(cls.__name__, (cls,), own))


class StreamServer(DurableObject, metaclass=_StreamServerType):
    """The Durable Object of one stream.

    RPC reaches `call`. `fetch` answers listeners and the Durable Streams protocol. `StreamObject` does the work.
    """

    _logger: logging.Logger | None = None

    def __init__(self, ctx: JsObject, env: JsObject) -> None:
        super().__init__(ctx, env)
        self._stream = StreamObject(CloudflareHost(self.ctx, self.env), logger=self._logger)

    def call(self, request: object = None, *_more: object, **_named: object) -> object:
        """Answer one request text with one reply text, in the form and over the line that `cloudflare.namespace` agrees on."""
        return answered(request, partial(answer_at_once, self._stream))

    async def fetch(self, request: JsObject) -> JsObject:
        """Answer a listener (whose path is `/`) or a request of the Durable Streams protocol with a raw `js.Response`."""
        return await answered_request(
            self._stream, getattr(self.ctx.id, "name", None) or "", request, self._stream.logger
        )

    async def alarm(self, _info: JsObject = None) -> None:
        """Do the due work."""
        await self._stream.alarm()

    async def webSocketMessage(self, socket: JsObject, message: JsObject) -> None:  # noqa: N802 - the platform's name
        """Take a listener's message. The object may have slept before."""
        self._stream.socket_message(CloudflareSocket(socket), message)

    async def webSocketClose(self, socket: JsObject, code: int = 1000, *_how: JsObject) -> None:  # noqa: N802
        """Note that a listener has gone."""
        self._stream.socket_closed(CloudflareSocket(socket), code)

    async def webSocketError(self, socket: JsObject, _error: JsObject = None) -> None:  # noqa: N802
        """Note that a listener's connection broke."""
        self._stream.socket_closed(CloudflareSocket(socket), 1011)
