"""The wires of chat pages: the chunks of one message as data alone, as the Vercel AI SDK and AG-UI read them.

```text
data: {"type":"text-delta",…}     one chunk of the message
: keep-alive                      comments, which these clients skip
data: {"type":"error",…}          the message failed
data: [DONE]                      nothing follows; AG-UI has no such frame
```

A message begins after the chunk that closes a turn, and ends with the next one, or with the stream.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, cast

from agents_store_cloudflare.objects import EventBody
from agents_store_cloudflare.objects.http_messages import HttpRequest
from agents_store_cloudflare.streams.head import StreamHead
from agents_store_cloudflare.streams.subscription import Place, Subscription

__all__ = ["RESUME", "WIRE", "WIRES", "MessageSink", "PageWire", "idle", "message_start", "wire_of"]

WIRE: Final = "Agents-Wire"
"""The header by which a Worker asks the stream's object for one of these wires."""

RESUME: Final = "Agents-Resume"
"""The header by which it asks for the message that is being written, from its beginning."""

END_MARK: Final = ": end\n\n"
"""Ends the last frame of a message. No chunk's text has it: JSON escapes the ends of lines."""

CLOSINGS: Final = ('{"type":"turn-end"', '{"type":"turn-failed"')

FAILED: Final = "the answer broke off"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageWire:
    """One of the wires: a `FrameWriter`, and the headers of its answers.

    Attributes:
        done: the frame after which nothing follows; "" where the protocol has none.
        failed: the JSON of a failed message, with `text` in place of its error.
    """

    headers: tuple[tuple[str, str], ...]
    done: str
    failed: str
    text: str

    def __call__(self, event: str, data: str, sequence: int | None = None, /) -> str:  # noqa: ARG002 - a wire without sequences
        """Return one event as text, without a sequence."""
        match event:
            case "chunk" if not data.startswith(CLOSINGS):
                return f"data: {data}\n\n"
            case "chunk":
                closing = cast("dict[str, Any]", json.loads(data))
                return (
                    self._failure(str(closing.get("code") or FAILED)) if closing["type"] == "turn-failed" else self._end
                )
            case "end":
                return self._end
            case "fail":
                return self._failure(str(json.loads(data)["error"]))
            case "truncated":
                return self._failure("the beginning of this message is no longer kept")
            case _:
                return f": {event}\n\n"

    @property
    def _end(self) -> str:
        return f"{self.done}{END_MARK}"

    def _failure(self, error: str) -> str:
        return f"data: {json.dumps({'type': self.failed, self.text: error})}\n\n{self._end}"


_HEADERS: Final = (
    ("content-type", "text/event-stream"),
    ("cache-control", "no-cache"),
    ("x-accel-buffering", "no"),
    ("x-content-type-options", "nosniff"),
)

WIRES: Final[dict[str, PageWire]] = {
    "vercel": PageWire(
        headers=(*_HEADERS, ("x-vercel-ai-ui-message-stream", "v1")),
        done="data: [DONE]\n\n",
        failed="error",
        text="errorText",
    ),
    "ag-ui": PageWire(headers=_HEADERS, done="", failed="RUN_ERROR", text="message"),
}


def wire_of(request: HttpRequest) -> PageWire | None:
    """The wire that a request asks for, None for the stream's own."""
    return WIRES.get(request.header(WIRE) or "")


def message_start(head: StreamHead) -> int:
    """The position from which the message that is being written, or the next one, begins; 0 for the beginning of the stream."""
    closed = head.closed_turn
    return 0 if closed is None or closed[1] < head.first_sequence else closed[1]


def idle(head: StreamHead) -> bool:
    """Whether no message is being written: the stream has ended, or its newest chunk closed a turn, or it has none."""
    closed = head.closed_turn
    is_between = closed is not None and closed[1] == head.last_sequence
    return head.status in ("ended", "failed") or is_between or head.last_sequence < head.first_sequence


class MessageSink:
    """A response body as a `FrameSink` that ends with the message."""

    def __init__(self, body: EventBody) -> None:
        self._body = body
        self._is_over = False
        self.listener: Subscription | None = None

    def has_read(self) -> bool:
        """Return whether the client has read something since the last call, or has nothing to read."""
        return self._body.has_read()

    def close(self) -> None:
        """End the response after the frames that it holds."""
        self._body.close()

    def break_off(self) -> None:
        """End the response with an error."""
        self._body.break_off()

    def push(self, frames: str) -> bool:
        """Push frames up to the end of the message. Later frames are not for this listener."""
        if self._is_over:
            return False
        end = frames.find(END_MARK)
        if end < 0:
            return self._body.push(frames)
        if not self._body.push(frames[:end]):
            return False
        self._is_over = True
        if self.listener is not None:
            self.listener.cancel()
        self._body.close()
        return True

    def remember(self, place: Place) -> None:
        """Do nothing: an open response ends with the object's memory."""
