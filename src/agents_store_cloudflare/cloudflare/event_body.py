"""A JavaScript `ReadableStream` that a stream's object pushes frames into.

An append enqueues into every listener's stream at once; no coroutine pulls. `pull` is a plain function that hands stored pages to a
listener that is behind. A Python generator as a body would leak: nothing closes it when the client leaves.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final, TypeAlias

import js
from pyodide.ffi import JsException, create_once_callable, create_proxy, to_js

from agents_store_cloudflare.objects import PullsFrames

JsObject: TypeAlias = Any  # what crosses from JavaScript has no Python type

__all__ = ["SseBody"]

QUEUE_BYTES: Final = 256 * 1024


class SseBody:
    """An `EventBody` over a byte stream that holds about 256 KB. Chunks that do not fit wait in the log.

    Attributes:
        stream: the `ReadableStream` for the body of a response. Its first pull comes in a later turn of the event loop.
    """

    def __init__(self) -> None:
        self._source: PullsFrames | None = None
        self._controller: JsObject = None
        self._is_ending = False
        self._pushed_bytes = 0
        self._taken_bytes = 0
        self._proxies: list[JsObject] = [create_proxy(each) for each in (self._start, self._pull, self._cancel)]
        start, pull, cancel = self._proxies
        source = {"type": "bytes", "start": start, "pull": pull, "cancel": cancel}
        self.stream: JsObject = js.ReadableStream.new(
            to_js(source, dict_converter=js.Object.fromEntries),
            to_js({"highWaterMark": QUEUE_BYTES}, dict_converter=js.Object.fromEntries),
        )

    def feed_from(self, source: PullsFrames) -> None:
        """Set the source that fills the body. Call it before the first turn of the event loop ends."""
        self._source = source

    def push(self, frames: str) -> bool:
        """Push a text that is not empty. Return False, and take nothing, if the body is full or its client is gone."""
        if self._controller is None or self._is_ending:
            return False
        room = self._controller.desiredSize
        if not isinstance(room, int | float):
            # JavaScript's null: the stream has failed, and no event has come.
            self._let_go()
            return False
        return room > 0 and self._enqueue(frames)

    def has_read(self) -> bool:
        """Return whether the client has read a frame since the last call, or has no frame to read."""
        room = None if self._controller is None else self._controller.desiredSize
        if not isinstance(room, int | float):
            return True
        taken_bytes = self._pushed_bytes - (QUEUE_BYTES - int(room))
        has_read = room >= QUEUE_BYTES or taken_bytes > self._taken_bytes
        self._taken_bytes = taken_bytes
        return has_read

    def break_off(self) -> None:
        """End the body with an error, and drop the text that it holds."""
        if self._controller is not None:
            with suppress(JsException):
                self._controller.error(js.Error.new("nothing was read; connect again"))
        self._let_go()

    def close(self, last: str = "") -> None:
        """End the body after the text that it holds. A full body takes the short text `last` too.

        A closed JavaScript stream keeps its text for a client that reads nothing, and takes no error any more. So the stream is
        closed when the client has read everything.
        """
        if last and self._controller is not None and not self._is_ending:
            self._enqueue(last)
        self._is_ending = True
        self._end_if_read()

    def has_ended(self) -> bool:
        """Return whether the client has read everything of a closed body or is gone, or the body was broken off."""
        self._end_if_read()
        return self._controller is None

    def _start(self, controller: JsObject) -> None:
        self._controller = controller

    def _pull(self, _controller: JsObject) -> None:
        if self._is_ending:
            self._end_if_read()
        elif self._source is not None:
            self._source.pull()

    def _enqueue(self, frames: str) -> bool:
        try:
            data = frames.encode()
            self._controller.enqueue(to_js(data))
        except JsException:
            # The client has gone, and no event has come.
            self._let_go()
            return False
        self._pushed_bytes += len(data)
        return True

    def _end_if_read(self) -> None:
        if not self._is_ending or self._controller is None:
            return
        room = self._controller.desiredSize
        if isinstance(room, int | float) and room < QUEUE_BYTES:
            return
        with suppress(JsException):
            self._controller.close()
        self._let_go()

    def _cancel(self, _reason: JsObject = None) -> None:
        self._let_go()

    def _let_go(self) -> None:
        self._controller = None
        if self._source is not None:
            self._source.cancel()
            self._source = None
        for proxy in self._proxies:
            # JavaScript may be running one of them now, so they are destroyed in the next turn.
            js.queueMicrotask(create_once_callable(proxy.destroy))
        self._proxies = []
