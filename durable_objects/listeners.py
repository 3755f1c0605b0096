"""HTTP requests that reach an object with a stream."""

from __future__ import annotations

import logging
from typing import Any, Protocol, TypeAlias
from urllib.parse import urlsplit

from agents_store_cloudflare.cloudflare.http import http_request, js_response, served
from agents_store_cloudflare.durable_streams.messages import MAX_BODY_BYTES
from agents_store_cloudflare.objects.http_messages import HttpRequest, HttpResponse
from agents_store_cloudflare.objects.wiring import FOLLOW_PATH

JsObject: TypeAlias = Any  # what crosses from JavaScript has no Python type

__all__ = ["answered_request"]

LISTENED = ("/", FOLLOW_PATH)


class _HasStream(Protocol):
    def fetch(self, stream_id: str, request: HttpRequest) -> HttpResponse: ...

    async def serve(self, stream_id: str, request: HttpRequest) -> HttpResponse: ...


async def answered_request(logic: _HasStream, stream_id: str, request: JsObject, logger: logging.Logger) -> JsObject:
    """Answer a listener (whose path is `/`), a follower, or a request of the Durable Streams protocol with a raw `js.Response`."""
    try:
        if urlsplit(str(request.url)).path in LISTENED:
            return js_response(logic.fetch(stream_id, http_request(request)))
        return await served(request, lambda complete: logic.serve(stream_id, complete), MAX_BODY_BYTES)
    except Exception as error:  # noqa: BLE001 - whatever it is, a traceback must not leave the object
        return js_response(HttpResponse.of_failure(error, logger))
