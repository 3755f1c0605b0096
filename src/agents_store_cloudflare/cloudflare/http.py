"""Requests and responses of the Workers runtime as values, and back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, TypeAlias

from agents_store_cloudflare.objects.http_messages import HttpRequest, HttpResponse

JsObject: TypeAlias = Any  # what crosses from JavaScript has no Python type

__all__ = [
    "drain",
    "has_known_length",
    "header_of",
    "http_request",
    "js_response",
    "read_body",
    "served",
    "status_of",
    "with_headers",
]

SWITCHING_PROTOCOLS: Final = 101


def http_request(request: object) -> HttpRequest:
    """Return a JavaScript request, raw or SDK-wrapped, as an `HttpRequest`. An `HttpRequest` is returned as it is.

    Raises:
        TypeError: the object is not a request.
    """
    if isinstance(request, HttpRequest):
        return request
    raw: JsObject = getattr(request, "js_object", request)
    if not hasattr(raw, "headers"):
        raise TypeError(f"expected the request that fetch was given, got {type(request).__name__}")
    from js import Object

    headers = Object.fromEntries(raw.headers).to_py()
    return HttpRequest(method=str(raw.method), url=str(raw.url), headers=headers)


async def served(
    request: object, serve: Callable[[HttpRequest], Awaitable[HttpResponse]], limit_bytes: int
) -> JsObject:
    """Answer a JavaScript request with its body. A body over the limit is refused."""
    value = http_request(request)
    body = b"" if value.method in ("GET", "HEAD") else await read_body(request, limit_bytes)
    if body is None:
        message = f"a body may have {limit_bytes:,} bytes; send it in parts"
        return js_response(HttpResponse.refusal(413, "body_too_large", message))
    return js_response(await serve(replace(value, body=body)))


def js_response(response: HttpResponse) -> JsObject:
    """The JavaScript `Response` of a value."""
    from js import Object, Response
    from pyodide.ffi import to_js

    init: dict[str, object] = {"status": response.status, "headers": dict(response.headers)}
    if response.web_socket is not None:
        init["webSocket"] = response.web_socket
    body = to_js(response.body) if isinstance(response.body, bytes) else response.body
    return Response.new(body, to_js(init, dict_converter=Object.fromEntries))


async def read_body(request: object, limit_bytes: int) -> bytes | None:
    """Return the body of a JavaScript request: b"" if it has none, None if it is longer than `limit_bytes`.

    A body of unknown length is read piece by piece, so that memory never holds more than the limit.
    """
    raw: JsObject = getattr(request, "js_object", request)
    declared: object = raw.headers.get("content-length")
    if isinstance(declared, str) and declared.isascii() and declared.isdigit():
        if int(declared) > limit_bytes:
            await drain(raw)
            return None
        whole: bytes = (await raw.arrayBuffer()).to_bytes()
        if len(whole) != int(declared):
            raise OSError("the body broke off on its way")
        return whole
    if not hasattr(raw.body, "getReader"):
        return b""
    reader, size_bytes = raw.body.getReader(), 0
    pieces: list[bytes] = []
    while size_bytes <= limit_bytes:
        piece = await reader.read()
        if piece.done:
            return b"".join(pieces)
        pieces.append(piece.value.to_bytes())
        size_bytes += len(pieces[-1])
    reader.releaseLock()
    await drain(raw)
    return None


def has_known_length(request: object) -> bool:
    """Whether a JavaScript request tells the length of its body. The platform refuses such a body if it breaks off."""
    raw: JsObject = getattr(request, "js_object", request)
    return isinstance(raw.headers.get("content-length"), str) or not hasattr(raw.body, "getReader")


async def drain(request: object) -> None:
    """Read the rest of a body and drop it: a client that is still sending receives no answer."""
    raw: JsObject = getattr(request, "js_object", request)
    if isinstance(request, HttpRequest) or raw.bodyUsed or not hasattr(raw.body, "pipeTo"):
        return
    from js import WritableStream
    from pyodide.ffi import JsException

    with suppress(JsException):  # the client has gone
        await raw.body.pipeTo(WritableStream.new())


def status_of(response: object) -> int:
    """The status of a response, a value or a JavaScript one."""
    raw: JsObject = response
    return int(raw.status)


def header_of(response: object, name: str) -> str | None:
    """A header of a response, a value or a JavaScript one; None if it is absent."""
    raw: JsObject = response
    value: object = raw.headers.get(name)
    return value if isinstance(value, str) else None


def with_headers(response: object, headers: Mapping[str, str]) -> object:
    """Return the response, a value or a JavaScript one, with more headers. `vary` is extended; other headers are replaced."""
    if isinstance(response, HttpResponse):
        return replace(response, headers={**response.headers, **headers})
    raw: JsObject = response
    if not headers or raw.status == SWITCHING_PROTOCOLS:
        return raw
    from js import Response

    answer = Response.new(raw.body, raw)  # the headers of a response from elsewhere cannot be changed
    for name, value in headers.items():
        answer.headers.append(name, value) if name == "vary" else answer.headers.set(name, value)
    return answer
