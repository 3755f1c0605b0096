"""Turns requests and responses of the Workers runtime into plain values, and back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, TypeAlias, cast

from agents_store_cloudflare.cloudflare.body_room import LARGE_BYTES, BodyRoom, NoRoomError
from agents_store_cloudflare.objects.http_messages import HttpRequest, HttpResponse

JsObject: TypeAlias = Any  # what crosses from JavaScript has no Python type

__all__ = [
    "drain",
    "has_known_length",
    "header_of",
    "http_request",
    "js_response",
    "no_room",
    "read_body",
    "served",
    "status_of",
    "with_headers",
]

SWITCHING_PROTOCOLS: Final = 101

PIECE_BYTES: Final = LARGE_BYTES
"""A larger body is read in pieces of this size."""


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
    """Answer a JavaScript request with its body.

    A body over the limit is refused, and so is a large body when there is no room for it.
    """
    value = http_request(request)
    with BodyRoom() as room:
        try:
            body = b"" if value.method in ("GET", "HEAD") else await read_body(request, limit_bytes, room)
        except NoRoomError:
            await drain(request)
            return js_response(no_room())
        if body is None:
            message = f"a body may have {limit_bytes:,} bytes; send it in parts"
            return js_response(HttpResponse.refusal(413, "body_too_large", message))
        return js_response(await serve(replace(value, body=body)))


def no_room() -> HttpResponse:
    """Return the answer to a request with a large body when other requests hold all the room for large bodies."""
    message = "the Worker has no room for another large body now; send the request again in a second"
    return HttpResponse.refusal(429, "too_many_bodies", message, headers={"retry-after": "1"})


def js_response(response: HttpResponse) -> JsObject:
    """Return the JavaScript `Response` of an `HttpResponse`."""
    from js import Object, Response
    from pyodide.ffi import to_js

    init: dict[str, object] = {"status": response.status, "headers": dict(response.headers)}
    if response.web_socket is not None:
        init["webSocket"] = response.web_socket
    body = to_js(response.body) if isinstance(response.body, bytes) else response.body
    return Response.new(body, to_js(init, dict_converter=Object.fromEntries))


async def read_body(request: object, limit_bytes: int, room: BodyRoom | None = None) -> bytes | None:
    """Return the body of a JavaScript request: b"" if it has none, None if it is longer than `limit_bytes`.

    A body of unknown length is read piece by piece, so that memory never holds more than the limit.

    Args:
        room: counts a large body. It is not needed for a limit below `LARGE_BYTES`.

    Raises:
        NoRoomError: the isolate has no room for a body of this size now.
    """
    raw: JsObject = getattr(request, "js_object", request)
    declared: object = raw.headers.get("content-length")
    if isinstance(declared, str) and declared.isascii() and declared.isdigit():
        if int(declared) > limit_bytes:
            await drain(raw)
            return None
        if room is not None:
            room.take(int(declared))
        whole = await (_in_pieces(raw, int(declared)) if int(declared) > PIECE_BYTES else _at_once(raw))
        if len(whole) != int(declared):
            raise OSError("the body broke off on its way")
        return whole
    if not hasattr(raw.body, "getReader"):
        return b""
    reader = raw.body.getReader()
    try:
        found = await _of_unknown_length(reader, limit_bytes, room)
    finally:
        reader.releaseLock()
    if found is None:
        await drain(raw)
    return found


async def _of_unknown_length(reader: JsObject, limit_bytes: int, room: BodyRoom | None) -> bytes | None:
    whole = bytearray()
    while len(whole) <= limit_bytes:
        piece = await reader.read()
        if piece.done:
            # As in `_in_pieces`: nobody changes the array.
            return cast("bytes", whole)
        whole += piece.value.to_bytes()
        if room is not None:
            room.take(len(whole))
    return None


async def _at_once(raw: JsObject) -> bytes:
    whole: bytes = (await raw.arrayBuffer()).to_bytes()
    return whole


async def _in_pieces(raw: JsObject, size_bytes: int) -> bytes:
    """Return the first `size_bytes` of a large body, or less if it is shorter. JavaScript holds one piece of it at a time."""
    from js import Uint8Array

    whole, at = bytearray(size_bytes), 0
    reader = raw.body.getReader(mode="byob")
    view = Uint8Array.new(PIECE_BYTES)
    while at < size_bytes:
        wanted = min(PIECE_BYTES, size_bytes - at)
        piece = await reader.readAtLeast(wanted, Uint8Array.new(view.buffer, 0, wanted))
        if piece.value is None or not piece.value.byteLength:
            break
        end = at + int(piece.value.byteLength)
        piece.value.assign_to(memoryview(whole)[at:end])
        view, at = Uint8Array.new(piece.value.buffer), end
        if piece.done:
            break
    reader.releaseLock()
    # A copy to `bytes` would double the memory. Nobody changes the array, so it may stand for bytes.
    return cast("bytes", whole if at == size_bytes else whole[:at])


def has_known_length(request: object) -> bool:
    """Return whether a JavaScript request has the length of its body. The platform refuses such a body if it breaks off."""
    raw: JsObject = getattr(request, "js_object", request)
    return isinstance(raw.headers.get("content-length"), str) or not hasattr(raw.body, "getReader")


async def drain(request: object) -> None:
    """Read the rest of a body and drop it, because a client that is still sending receives no answer."""
    raw: JsObject = getattr(request, "js_object", request)
    if isinstance(request, HttpRequest) or raw.bodyUsed or not hasattr(raw.body, "pipeTo"):
        return
    from js import WritableStream
    from pyodide.ffi import JsException

    with suppress(JsException):  # the client has gone
        await raw.body.pipeTo(WritableStream.new())


def status_of(response: object) -> int:
    """Return the status of an `HttpResponse` or a JavaScript response."""
    raw: JsObject = response
    return int(raw.status)


def header_of(response: object, name: str) -> str | None:
    """Return a header of an `HttpResponse` or a JavaScript response; None if it is absent."""
    raw: JsObject = response
    value: object = raw.headers.get(name)
    return value if isinstance(value, str) else None


def with_headers(response: object, headers: Mapping[str, str]) -> object:
    """Return an `HttpResponse` or a JavaScript response with more headers. `vary` is extended. Other headers are replaced."""
    if isinstance(response, HttpResponse):
        return replace(response, headers={**response.headers, **headers})
    raw: JsObject = response
    if not headers or raw.status == SWITCHING_PROTOCOLS:
        return raw
    from js import Response

    answer = Response.new(raw.body, raw)  # the headers of a response from another server cannot be changed
    for name, value in headers.items():
        answer.headers.append(name, value) if name == "vary" else answer.headers.set(name, value)
    return answer
