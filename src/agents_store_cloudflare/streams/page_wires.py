"""The wires of chat pages: each chunk of one message is an event with data alone, as the Vercel AI SDK and AG-UI expect it.

```text
data: {"type":"text-delta",…}     one chunk of the message
: keep-alive                      comments, which these clients skip
data: {"type":"error",…}          the message failed
data: [DONE]                      nothing follows; AG-UI has no such frame
```

A message begins after a chunk that closes a turn. It ends with the next chunk that closes a turn, or with the stream.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, cast

from agents_store_cloudflare.objects import EventBody
from agents_store_cloudflare.objects.http_messages import HttpRequest
from agents_store_cloudflare.streams.body_ends import BodyEnds
from agents_store_cloudflare.streams.head import StreamHead
from agents_store_cloudflare.streams.subscription import Place, Subscription, place_at

__all__ = ["RESUME", "WIRE", "WIRES", "MessageSink", "PageWire", "idle", "message_place", "resume_place", "wire_of"]

WIRE: Final = "Agents-Wire"
"""The header with which a Worker asks the stream's object for one of these wires."""

RESUME: Final = "Agents-Resume"
"""The header with which a Worker asks for the message that is being written, from its beginning."""

END_MARK: Final = ": end\n\n"
"""The end of a message's last frame. The text of a chunk never holds it, because JSON escapes line breaks."""

CLOSINGS: Final = ('{"type":"turn-end"', '{"type":"turn-failed"')

FAILED: Final = "the answer broke off"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageWire:
    """One wire of chat pages: a `FrameWriter`, and the headers of its answers.

    Attributes:
        done: the last frame of an answer; "" when the protocol has no such frame.
        failed: the `type` of the event that tells of a failed message.
        text: the key of that event's error.
        left_out: the keys of a chunk that the wire leaves out, because its clients know no others than the protocol's.
    """

    headers: tuple[tuple[str, str], ...]
    done: str
    failed: str
    text: str
    left_out: tuple[str, ...] = ()

    def __call__(self, event: str, data: str, sequence: int | None = None, /) -> str:  # noqa: ARG002 - a wire without sequences
        """Return one event as text, without a sequence."""
        match event:
            case "chunk" if not data.startswith(CLOSINGS):
                return f"data: {self._known(data) if self.left_out else data}\n\n"
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

    def _known(self, data: str) -> str:
        chunk = cast("dict[str, Any]", json.loads(data))
        for key in self.left_out:
            chunk.pop(key, None)
        # An escaped lone surrogate stays escaped: UTF-8 cannot carry it.
        return json.dumps(chunk, ensure_ascii="\\ud" in data.lower(), separators=(",", ":"))

    @property
    def broken(self) -> str:
        """The last frames of a message that stays unfinished, because its stream was deleted or its listener failed."""
        return self._failure(FAILED).removesuffix(END_MARK)

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
    "ag-ui": PageWire(headers=_HEADERS, done="", failed="RUN_ERROR", text="message", left_out=("agentId", "agentType")),
}


def wire_of(request: HttpRequest) -> PageWire | None:
    """Return the wire that a request asks for, or None for the stream's own wire."""
    return WIRES.get(request.header(WIRE) or "")


def message_place(head: StreamHead, from_sequence: int) -> Place:
    """Return the place of a page that asks for the message after `from_sequence`.

    With 0 it begins at the oldest chunk that is kept, if a message begins there. Otherwise that message has lost its beginning, and
    the page is told.
    """
    if from_sequence:
        return place_at(head, from_sequence)
    kept_after = head.first_sequence - 1
    begins = kept_after == head.begun_after or any(closed[1] == kept_after for closed in head.closed_turns)
    return Place(kept_after if begins else head.begun_after, head.incarnation)


def resume_place(head: StreamHead) -> Place:
    """Return the place before the message that is being written. If its beginning is gone, the page is told."""
    return Place(_message_start(head), head.incarnation)


def idle(head: StreamHead) -> bool:
    """Return whether no message is being written: the stream has ended, or it has no chunk since its beginning or a closing chunk."""
    return head.is_closed or _message_start(head) >= head.last_sequence


def _message_start(head: StreamHead) -> int:
    """Return the position before the newest message: the last closing chunk, or the beginning of the stream's present life."""
    closed = head.closed_turn
    return head.begun_after if closed is None else max(head.begun_after, closed[1])


class MessageSink:
    """A response body as a `FrameSink` that ends with the message."""

    def __init__(self, body: EventBody, ends: BodyEnds, wire: PageWire) -> None:
        self._body = body
        self._ends = ends
        self._wire = wire
        self._is_over = False
        self.listener: Subscription | None = None

    def has_read(self) -> bool:
        """Return whether the client has read a frame since the last call, or has no frame to read."""
        return self._body.has_read()

    def close(self) -> None:
        """End the response after the frames that it holds. A message that is not over ends with the wire's error."""
        if not self._is_over:
            self._is_over = True
            self._ends.end(self._body, self._wire.broken)

    def break_off(self) -> None:
        """End the response with an error."""
        self._body.break_off()

    def push(self, frames: str) -> bool:
        """Push frames up to the end of the message, and leave out later frames."""
        if self._is_over:
            return False
        end = frames.find(END_MARK)
        if end < 0:
            return self._body.push(frames)
        if end and not self._body.push(frames[:end]):  # AG-UI's end alone has no text
            return False
        self._is_over = True
        if self.listener is not None:
            self.listener.cancel()
        self._ends.end(self._body)
        return True

    def remember(self, place: Place) -> None:
        """Do nothing: when the object's memory ends, the open response ends too."""
