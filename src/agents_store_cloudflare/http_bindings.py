"""Requests and responses of the Workers runtime as values, and back. Like `bindings.py` it imports on CPython too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

from agents_store_cloudflare.http_messages import HttpRequest, HttpResponse

JsObject: TypeAlias = Any  # what crosses from JavaScript has no Python type

__all__ = ["http_request", "js_response", "with_headers"]

SWITCHING_PROTOCOLS: Final = 101


def http_request(request: object) -> HttpRequest:
    """The value of a request: a JavaScript one, raw or as the SDK wraps it; one that is a value already stays as it is.

    Raises:
        TypeError: it is none of these.
    """
    if isinstance(request, HttpRequest):
        return request
    raw: JsObject = getattr(request, "js_object", request)
    if not hasattr(raw, "headers"):
        raise TypeError(f"expected the request that fetch was given, got {type(request).__name__}")
    from js import Object

    headers = Object.fromEntries(raw.headers).to_py()
    return HttpRequest(method=str(raw.method), url=str(raw.url), headers=headers)


def js_response(response: HttpResponse) -> JsObject:
    """The JavaScript `Response` of a value."""
    from js import Object, Response
    from pyodide.ffi import to_js

    init: dict[str, object] = {"status": response.status, "headers": dict(response.headers)}
    if response.web_socket is not None:
        init["webSocket"] = response.web_socket
    return Response.new(response.body, to_js(init, dict_converter=Object.fromEntries))


def with_headers(response: object, headers: Mapping[str, str]) -> object:
    """The same response, a value or a JavaScript one, with more headers; `vary` adds to what it says."""
    if isinstance(response, HttpResponse):
        return replace(response, headers={**response.headers, **headers})
    raw: JsObject = response
    if not headers or raw.status == SWITCHING_PROTOCOLS:
        return raw
    from js import Response

    answer = Response.new(raw.body, raw)  # what came from elsewhere has fixed headers
    for name, value in headers.items():
        answer.headers.append(name, value) if name == "vary" else answer.headers.set(name, value)
    return answer
