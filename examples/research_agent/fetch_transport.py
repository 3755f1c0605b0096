"""httpx over the Workers `fetch`.

Inside a Worker httpx opens raw sockets, which cannot reach any host that Cloudflare itself serves, and most model APIs
are among them. `fetch` reaches them all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib import import_module
from typing import Any

import httpx

__all__ = ["FetchTransport"]

# `fetch` writes these itself, and hands the body over unpacked.
_OF_THE_CONNECTION = frozenset({"accept-encoding", "connection", "content-length", "host", "transfer-encoding"})
_OF_THE_ENCODING = frozenset({"content-encoding", "content-length", "transfer-encoding"})
DEFAULT_TIMEOUT_S = 60.0


class FetchTransport(httpx.AsyncBaseTransport):
    """Sends requests by `fetch`; the answer's body streams. httpx's read timeout bounds the whole exchange."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request.

        Raises:
            httpx.ConnectError: no answer came.
            httpx.ReadTimeout: it did not come in time.
        """
        js, ffi = _javascript()
        options: dict[str, Any] = {
            "method": request.method,
            "headers": [(key, value) for key, value in request.headers.items() if key not in _OF_THE_CONNECTION],
            "body": await request.aread() or None,
            "redirect": "manual",
            "signal": js.AbortSignal.timeout(_timeout_ms(request)),
        }
        given = {key: value for key, value in options.items() if value is not None}
        try:
            response = await js.fetch(str(request.url), ffi.to_js(given, dict_converter=js.Object.fromEntries))
        except ffi.JsException as error:
            raise _httpx_error(error, request) from error
        headers: dict[str, str] = js.Object.fromEntries(response.headers).to_py()
        return httpx.Response(
            response.status,
            headers=[(key, value) for key, value in headers.items() if key not in _OF_THE_ENCODING],
            stream=_Body(response.body, request),
        )


class _Body(httpx.AsyncByteStream):
    """A JavaScript ReadableStream (or null) as httpx wants it."""

    def __init__(self, body: Any, request: httpx.Request) -> None:
        self._reader = body.getReader() if body else None
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        _, ffi = _javascript()
        while self._reader is not None:
            try:
                result = await self._reader.read()
            except ffi.JsException as error:
                raise _httpx_error(error, self._request) from error
            if result.done:
                return
            yield result.value.to_bytes()

    async def aclose(self) -> None:
        if self._reader is None:
            return
        _, ffi = _javascript()
        reader, self._reader = self._reader, None
        try:
            await reader.cancel()
        except ffi.JsException:
            return  # the stream broke before: there is nothing left to cancel


def _javascript() -> tuple[Any, Any]:
    """The modules `js` and `pyodide.ffi`, looked up when used: no module global of a Worker may hold JavaScript objects."""
    return import_module("js"), import_module("pyodide.ffi")


def _timeout_ms(request: httpx.Request) -> int:
    timeout_s = request.extensions.get("timeout", {}).get("read")
    return int((DEFAULT_TIMEOUT_S if timeout_s is None else timeout_s) * 1000)


def _httpx_error(error: Exception, request: httpx.Request) -> httpx.TransportError:
    kind = httpx.ReadTimeout if getattr(error, "name", "") == "TimeoutError" else httpx.ConnectError
    return kind(str(getattr(error, "message", error)), request=request)
