"""Turns requests and responses of the Workers runtime into plain values, and back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, TypeAlias, TypeVar, cast

from agents_store_cloudflare.cloudflare.body_room import LARGE_BYTES, BodyRoom, NoRoomError
from agents_store_cloudflare.objects.http_messages import HttpRequest, HttpResponse

JsObject: TypeAlias = Any  # what crosses from JavaScript has no Python type

T = TypeVar("T")

__all__ = [
    "END_HEADER",
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
    "with_marked_end",
]

SWITCHING_PROTOCOLS: Final = 101

PIECE_BYTES: Final = LARGE_BYTES
"""A larger body is read in pieces of this size."""

END_HEADER: Final = "agents-body-end"
"""The header of a request whose body ends with `END_MARK`."""

END_MARK: Final = b"\0agents-body-end\0"


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
    mark = END_MARK if value.header(END_HEADER) else b""
    with BodyRoom() as room:
        try:
            body = b"" if value.method in ("GET", "HEAD") else await read_body(request, limit_bytes + len(mark), room)
        except NoRoomError:
            await drain(request)
            return js_response(no_room())
        if body is None:
            message = f"a body may have {limit_bytes:,} bytes; send it in parts"
            return js_response(HttpResponse.refusal(413, "body_too_large", message))
        return js_response(await serve(replace(value, body=_without_mark(body, mark))))


def _without_mark(body: bytes | bytearray, mark: bytes) -> bytes:
    if not body.endswith(mark):
        raise OSError("the body broke off on its way")
    if isinstance(body, bytearray):
        del body[len(body) - len(mark) :]  # in place: a copy would double the memory
        return cast("bytes", body)
    return body[: len(body) - len(mark)]


async def with_marked_end(request: object, send: Callable[[JsObject], Awaitable[T]]) -> T:
    """Pass on a JavaScript request whose body has no length, with a mark after the body.

    A body that breaks off on its way looks complete to the receiver. The mark is there only if the client has sent the whole body.
    Python copies no part of the body here.
    """
    from js import Headers, IdentityTransformStream, Object, Request
    from pyodide.ffi import to_js

    raw: JsObject = getattr(request, "js_object", request)
    # Bytes pass through this kind of stream without a copy in JavaScript.
    pipe, headers = IdentityTransformStream.new(), Headers.new(raw.headers)
    headers.set(END_HEADER, "1")
    init = {"method": raw.method, "headers": headers, "body": pipe.readable, "duplex": "half"}
    marked = Request.new(raw.url, to_js(init, dict_converter=Object.fromEntries))
    marking = asyncio.ensure_future(_pipe_and_mark(raw.body, pipe.writable))
    try:
        return await send(marked)
    finally:
        marking.cancel()


async def _pipe_and_mark(body: JsObject, writable: JsObject) -> None:
    from js import Object
    from pyodide.ffi import JsException, to_js

    with suppress(JsException):  # the client has gone, or the receiver has answered before the end
        await body.pipeTo(writable, to_js({"preventClose": True}, dict_converter=Object.fromEntries))
        writer = writable.getWriter()
        await writer.write(to_js(END_MARK))
        await writer.close()


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
    body: object = response.body
    if isinstance(body, str) and not body.isascii():
        body = body.encode(errors="replace")  # a text that is not ASCII would be copied character by character
    if isinstance(body, bytes):
        body = to_js(body)
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
        size_bytes = int(declared)
        whole = await (_in_pieces(raw, size_bytes, size_bytes) if size_bytes > PIECE_BYTES else _at_once(raw))
        if len(whole) != size_bytes:
            raise OSError("the body broke off on its way")
        return whole
    if not hasattr(raw.body, "getReader"):
        return b""
    found = await _in_pieces(raw, limit_bytes + 1, min(PIECE_BYTES, limit_bytes + 1), room)
    if len(found) > limit_bytes:
        await drain(raw)
        return None
    return found


async def _at_once(raw: JsObject) -> bytes:
    whole: bytes = (await raw.arrayBuffer()).to_bytes()
    return whole


async def _in_pieces(raw: JsObject, most_bytes: int, first_bytes: int, room: BodyRoom | None = None) -> bytes:
    """Return the first `most_bytes` of a body, or less if it is shorter. JavaScript holds one piece of it at a time.

    Args:
        first_bytes: the memory to take first. If the body is longer, memory for `most_bytes` is taken at once: memory that grows in
            steps would hold two copies at each step.
    """
    from js import Uint8Array

    whole, at = bytearray(first_bytes), 0
    reader = raw.body.getReader(mode="byob")
    view = Uint8Array.new(PIECE_BYTES)
    try:
        while at < most_bytes:
            if at == len(whole):
                if room is not None:
                    room.take(most_bytes - most_bytes % PIECE_BYTES)  # without the few bytes beyond the limit
                whole = _longer(whole, most_bytes)
            wanted = min(PIECE_BYTES, len(whole) - at)
            piece = await reader.readAtLeast(wanted, Uint8Array.new(view.buffer, 0, wanted))
            if piece.value is None or not piece.value.byteLength:
                break
            end = at + int(piece.value.byteLength)
            piece.value.assign_to(memoryview(whole)[at:end])
            view, at = Uint8Array.new(piece.value.buffer), end
            if piece.done:
                break
    finally:
        reader.releaseLock()
    del whole[at:]
    # A copy to `bytes` would double the memory. Nobody changes the array, so it may stand for bytes.
    return cast("bytes", whole)


def _longer(array: bytearray, size_bytes: int) -> bytearray:
    longer = bytearray(size_bytes)
    longer[: len(array)] = array
    return longer


def has_known_length(request: object) -> bool:
    """Return whether a JavaScript request has the length of its body. The platform refuses such a body if it breaks off."""
    raw: JsObject = getattr(request, "js_object", request)
    return isinstance(raw.headers.get("content-length"), str) or not hasattr(raw.body, "getReader")


async def drain(request: object) -> None:
    """Read the rest of a body and drop it, because a client that is still sending receives no answer.

    A part of the body may have been read. A body that was handed on is its receiver's.
    """
    raw: JsObject = getattr(request, "js_object", request)
    if isinstance(request, HttpRequest) or not hasattr(raw.body, "pipeTo") or raw.body.locked:
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
