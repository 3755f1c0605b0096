"""The Durable Object class of streams. Name it in wrangler.toml and import it in the Worker's entry module."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, TypeAlias, cast
from urllib.parse import parse_qs, urlsplit

import js
from agents_store_cloudflare.durable_objects.sse_body import SseBody
from pyodide.ffi import to_js
from workers import DurableObject

from agents_store_cloudflare.bindings import CloudflareHost
from agents_store_cloudflare.errors import AgentsStoreError
from agents_store_cloudflare.streams.sse import HEADERS, parse_position
from agents_store_cloudflare.streams.stream_object import StreamObject
from agents_store_cloudflare.wire import encode_error

JsObject: TypeAlias = Any  # what crosses from JavaScript has no Python type

__all__ = ["StreamServer"]


class _StreamServerType(type):
    """Holds what must not be on the class: every function there can be called over RPC."""

    def with_logger(cls, logger: logging.Logger) -> type[StreamServer]:
        """A subclass of the same name whose objects log to `logger`. In the entry module:

        Example:
            >>> StreamServer = StreamServer.with_logger(logging.getLogger("my-worker"))
        """
        own = {"_logger": logger, "__module__": cls.__module__, "__doc__": cls.__doc__}
        return cast("type[StreamServer]", type(cls)(cls.__name__, (cls,), own))


class StreamServer(DurableObject, metaclass=_StreamServerType):
    """One stream. RPC reaches `call` alone; `fetch` answers GET with Server-Sent Events; `StreamObject` does it."""

    _logger: logging.Logger | None = None

    def __init__(self, ctx: JsObject, env: JsObject) -> None:
        super().__init__(ctx, env)
        self._stream = StreamObject(CloudflareHost(self.ctx), logger=self._logger)

    async def call(self, request: str) -> str:
        """Answer one request text with one reply text."""
        return await self._stream.call(request)

    async def fetch(self, request: JsObject) -> JsObject:
        """The events after `Last-Event-ID` or `?from=`; errors are JSON. Returns a raw JavaScript `Response`."""
        try:
            return _sse_response(self._stream, getattr(self.ctx.id, "name", None) or "", request)
        except AgentsStoreError as error:
            return _response(json.dumps(error.to_dict()), error.http_status, {"content-type": "application/json"})
        except Exception as error:  # noqa: BLE001 - a traceback must not leave the object
            return _response(encode_error(error, self._stream.logger), 500, {"content-type": "application/json"})

    async def alarm(self, _info: JsObject = None) -> None:
        """Do what is due."""
        await self._stream.alarm()


def _sse_response(stream: StreamObject, stream_id: str, request: JsObject) -> JsObject:
    if request.method != "GET":
        error = {"error": {"code": "method_not_allowed", "message": "events are read with GET"}}
        return _response(json.dumps(error), 405, {"content-type": "application/json", "allow": "GET"})
    query = parse_qs(urlsplit(str(request.url)).query, keep_blank_values=True)
    position = parse_position(request.headers.get("Last-Event-ID"), query.get("from", [None])[0])
    body = SseBody()
    try:
        body.feed_from(stream.subscribe(stream_id, position, body))
    except BaseException:
        body.close()  # its proxies live until they are destroyed
        raise
    return _response(body.stream, 200, dict(HEADERS))


def _response(body: JsObject, status: int, headers: Mapping[str, str]) -> JsObject:
    init = {"status": status, "headers": dict(headers)}
    return js.Response.new(body, to_js(init, dict_converter=js.Object.fromEntries))
