"""Calls to Durable Objects, for the caller and for the object. One text goes each way, as cheaply as the platform allows.

A call of an object's method takes three quarters of a millisecond. A call of a function that the object has returned takes a third
of that. Such a function is called a line. A caller gets a line when it calls the same object again soon after a reply.

```text
{"bytes":true,"op":…}     a long reply may come as UTF-8 bytes, which are copied faster than text
{"line":true,"op":…}      as above, and the reply may come with a line: [reply, function]; the function works as `call` does
```

An object stays awake, and costs money, while somebody holds a line to it. So a line ends with the burst of calls that it serves.
An object of an older version ignores these marks. A caller that sets no mark gets a plain text.
"""

from __future__ import annotations

import asyncio
import logging
import time
import warnings
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, cast

from agents_store_cloudflare.cloudflare.raw import JsObject, called, ffi, not_a_binding, raw_binding
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.objects import ObjectCallError, ObjectNamespace
from agents_store_cloudflare.objects.http_messages import HttpRequest
from agents_store_cloudflare.objects.rpc_text import encode_error

__all__ = ["CloudflareNamespace", "answered", "as_namespace"]

ASK_FOR_BYTES: Final = '{"bytes":true,'
ASK_FOR_LINE: Final = '{"line":true,'

LONG_REPLY: Final = 4_096
"""The number of characters from which bytes are cheaper than text."""

BURST_S: Final = 0.02
"""A call within this time after the last reply of its object asks for a line, because more calls will probably follow."""

IDLE_S: Final = 0.25
"""An unused line is given back after this time, at the latest after twice this time."""

CLASS_MISSING: Final = "internal error; reference ="
"""The platform's error for a class that the entry module does not export. Failures of the platform have the same text."""

HINT: Final = (
    "if every call fails like this, the entry module does not export the object's class: write "
    "`from agents_store_cloudflare import LockServer, StreamServer` (and SessionServer for homes) there, and name them in __all__ "
    "where it has one"
)

ELSEWHERE: Final = "on behalf of a different "
"""The platform's words for the use of something that belongs to another request, or to another Durable Object."""

SHARED: Final = (
    "a store, writer, reader or lock of another request is in use, for example one in a module global. Make a store in each request: "
    "create_cloudflare_store makes no round trip"
)

MAX_REMEMBERED: Final = 100


def answered(request: object, answer: Callable[[str], str | Awaitable[str]], *, gives_lines: bool = True) -> object:
    """Return `answer`'s reply in the form that the request asks for: an object's `call` returns it to the platform.

    Args:
        request: the caller's argument. Anything but one text gets an error reply.
        gives_lines: whether callers of this object make many calls in a row.
    """
    if not isinstance(request, str):
        return _refused(request)
    if request.startswith(ASK_FOR_BYTES):
        return _in_bytes(answer("{" + request[len(ASK_FOR_BYTES) :]))
    if not request.startswith(ASK_FOR_LINE):
        return answer(request)
    reply = _in_bytes(answer("{" + request[len(ASK_FOR_LINE) :]))
    if not gives_lines or not isinstance(reply, str | bytes):
        return reply

    def line(text: object = None, *_more: object) -> JsObject:
        return _over_line(answer(text) if isinstance(text, str) else _refused(text))

    return [reply, line]  # each line has a function of its own, which ends with the line


def _refused(request: object) -> str:
    error = InvalidArgumentError(f"call takes one text, a request; not {type(request).__name__:.40}")
    return encode_error(error, logging.getLogger(__name__))


def _in_bytes(reply: str | Awaitable[str]) -> str | bytes | Awaitable[str | bytes]:
    if isinstance(reply, str):
        return reply if len(reply) < LONG_REPLY else _encoded(reply)
    return _later_in_bytes(reply)


def _encoded(reply: str) -> bytes:
    return reply.encode(errors="replace")  # a reply may quote lone surrogates of its request


async def _later_in_bytes(reply: Awaitable[str]) -> str | bytes:
    return cast("str | bytes", _in_bytes(await reply))


def _over_line(reply: str | Awaitable[str]) -> JsObject:
    """Return the reply as a JavaScript value, because nothing converts the result of a line. A future becomes a promise."""
    if isinstance(reply, str):
        return reply if len(reply) < LONG_REPLY else ffi().to_js(_encoded(reply))
    return asyncio.ensure_future(_later_over_line(reply))


async def _later_over_line(reply: Awaitable[str]) -> JsObject:
    return _over_line(await reply)


class CloudflareNamespace:
    """A Durable Object binding as an `ObjectNamespace`."""

    def __init__(self, binding: JsObject) -> None:
        self._binding = binding
        self._replied_at: dict[str, float] = {}
        self._lines: dict[str, _Line] = {}
        self._is_watching = False

    async def call(self, name: str, request: str) -> str:
        """Send one text to the object and return its reply: one RPC, over an open line or a new stub.

        A stub that has failed once fails for ever, so a failed call hangs up.

        Raises:
            ObjectCallError: no reply came.
        """
        line = self._lines.get(name)
        try:
            reply = await (self._call_method(name, request) if line is None else line.call(request))
        except ffi().JsException as error:
            self.hang_up(name)
            raise _call_error(error) from error
        self._replied_at[name] = time.monotonic()
        return reply

    def hang_up(self, name: str) -> None:
        """Give back the line to the object called `name`, if there is one, because no call follows."""
        self._replied_at.pop(name, None)
        line = self._lines.pop(name, None)
        if line is not None:
            line.close()

    def open_no_line(self, name: str) -> None:
        """Let the next call to the object called `name` ask for no line, because no call follows it."""
        self._replied_at.pop(name, None)

    async def fetch(self, name: str, url: str, headers: Mapping[str, str]) -> JsObject:
        """Return the raw `js.Response` of an HTTP GET to the object. Its body may be an open stream."""
        from js import Object
        from pyodide.ffi import JsException, to_js

        options = to_js({"headers": dict(headers)}, dict_converter=Object.fromEntries)
        try:
            return await self._binding.getByName(name).fetch(url, options)
        except JsException as error:
            raise _call_error(error) from error

    async def forward(self, name: str, request: HttpRequest, original: object) -> JsObject:
        """Return the raw `js.Response` to a request: to `original` if it is given, otherwise to `request`."""
        from js import Object
        from pyodide.ffi import JsException, to_js

        stub = self._binding.getByName(name)
        try:
            if original is not None and original is not request:
                return await stub.fetch(getattr(original, "js_object", original))
            init: dict[str, object] = {"method": request.method, "headers": dict(request.headers)}
            if request.body:
                init["body"] = to_js(request.body)
            return await stub.fetch(request.url, to_js(init, dict_converter=Object.fromEntries))
        except JsException as error:
            raise _call_error(error) from error

    async def _call_method(self, name: str, request: str) -> str:
        mark = ASK_FOR_LINE if self._is_burst(name) else ASK_FOR_BYTES
        marked = mark + request[1:] if request.startswith("{") else request
        stub = self._binding.getByName(name)
        reply: JsObject = called(stub.call, [marked], stub)
        answer: JsObject = await (_with_line(reply) if mark is ASK_FOR_LINE else reply)
        if isinstance(answer, str) or not hasattr(answer, "at"):
            return cast("str", answer)
        if hasattr(answer, "buffer"):
            return _text(answer)
        text = _text(answer[0])
        self._keep(name, _Line(answer))
        return text

    def _is_burst(self, name: str) -> bool:
        replied_at = self._replied_at.get(name)
        if len(self._replied_at) > MAX_REMEMBERED:
            self._replied_at.clear()
        return replied_at is not None and time.monotonic() - replied_at < BURST_S

    def _keep(self, name: str, line: _Line) -> None:
        if name in self._lines:
            line.close()  # two calls have asked for a line at once
            return
        self._lines[name] = line
        if not self._is_watching:
            self._watch()

    def _watch(self) -> None:
        self._is_watching = True
        # The only timer here. It ends at most half a second after the burst.
        asyncio.get_running_loop().call_later(IDLE_S, self._give_back)

    def _give_back(self) -> None:
        self._is_watching = False
        for name in [name for name, line in self._lines.items() if line.is_idle()]:
            self.hang_up(name)
        if self._lines:
            self._watch()


class _Line:
    """A function that an object has returned, and whether it was used lately."""

    def __init__(self, answer: JsObject) -> None:
        self._answer = answer
        self._call = answer[1]
        self._calls = 0
        self._was_used = True

    async def call(self, request: str) -> str:
        """Return the reply. Raises `JsException`."""
        self._calls += 1
        self._was_used = True
        try:
            return _text(await called(self._call, [request]))
        finally:
            self._calls -= 1

    def is_idle(self) -> bool:
        """Return whether no call runs and no call has begun since the last call of this method."""
        was_used, self._was_used = self._was_used or self._calls > 0, False
        return not was_used

    def close(self) -> None:
        """Give the function back, so that the object may sleep."""
        _let_go(self._answer)


def _let_go(answer: JsObject) -> None:
    """Give back the JavaScript values of a reply, so that the object may sleep."""
    from js import Array, Reflect, Symbol
    from pyodide.ffi import JsException

    if isinstance(answer, str) or hasattr(answer, "buffer") or not hasattr(answer, "at"):
        return  # a reply without a line
    with suppress(JsException):
        Reflect.apply(Reflect.get(answer, Symbol.dispose), answer, Array.new())


async def _with_line(call: Awaitable[JsObject]) -> JsObject:
    """Return the reply to a call that asks for a line. If the caller is cancelled, the line is given back when the reply comes."""
    reply = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(reply)
    except asyncio.CancelledError:
        reply.add_done_callback(_let_go_unheard)
        raise


def _let_go_unheard(reply: asyncio.Future[JsObject]) -> None:
    if not reply.cancelled() and reply.exception() is None:
        _let_go(reply.result())


def _text(value: JsObject) -> str:
    return value if isinstance(value, str) else cast("str", value.to_bytes().decode())


def _call_error(error: Exception) -> ObjectCallError:
    # Absent properties of a JavaScript error raise AttributeError.
    message = str(getattr(error, "message", error))
    raised = getattr(error, "name", "") == "PythonError"
    if raised:
        # The message is the object's traceback, which belongs into the object's log and not to clients.
        message = "the class of the object raised an exception outside the package; the Worker's log has the traceback"
    if message.startswith(CLASS_MISSING) and getattr(error, "durableObjectReset", False) is True:
        message += f"; {HINT}"
    if ELSEWHERE in message:
        # Sent again over a line of this request, the call works, so most of the time only the warning shows the mistake.
        warnings.warn(SHARED, RuntimeWarning, stacklevel=2)
        message += f"; {SHARED}"
    return ObjectCallError(
        message,
        retryable=getattr(error, "retryable", False) is True,
        overloaded=getattr(error, "overloaded", False) is True,
        raised=raised,
    )


def as_namespace(binding: object) -> ObjectNamespace:
    """Return the `ObjectNamespace` of a Durable Object binding, raw or SDK-wrapped. A namespace is returned as it is.

    Raises:
        TypeError: the argument is neither, or the binding is missing.
    """
    if isinstance(binding, CloudflareNamespace):
        return binding
    raw = raw_binding(binding)
    if hasattr(raw, "idFromName"):
        return CloudflareNamespace(raw)
    if hasattr(binding, "call"):
        return cast("ObjectNamespace", binding)
    raise TypeError(not_a_binding("Durable Object namespace", "durable_objects.bindings", binding))
