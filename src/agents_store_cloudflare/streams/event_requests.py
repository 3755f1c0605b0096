"""The answers of a stream's object to listeners: Server-Sent Events, or a WebSocket."""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from urllib.parse import parse_qs, urlsplit

from agents_store_cloudflare.objects import EventBody, ObjectHost, ObjectSocket
from agents_store_cloudflare.objects.http_messages import HttpRequest, HttpResponse
from agents_store_cloudflare.streams.audience import Audience
from agents_store_cloudflare.streams.body_ends import BodyEnds
from agents_store_cloudflare.streams.log import StreamLog
from agents_store_cloudflare.streams.page_wires import (
    RESUME,
    MessageSink,
    PageWire,
    idle,
    message_place,
    resume_place,
    wire_of,
)
from agents_store_cloudflare.streams.socket_sink import ACKNOWLEDGEMENT
from agents_store_cloudflare.streams.sse import HEADERS, parse_position
from agents_store_cloudflare.streams.subscription import Place, place_at

__all__ = ["LEFT", "EventRequests", "position_of"]

LEFT: Final = "Agents-Left"
"""The header with which a Worker says for how many milliseconds a listener may stay."""

NORMAL_CLOSURE: Final = 1000
POLICY_VIOLATION: Final = 1008
ANSWERED_CODES: Final = frozenset({1000, *range(3000, 5000)})
"""The close codes that this side may send. A client's close with another code is answered with 1000."""


def position_of(request: HttpRequest) -> int:
    """Return the position that a request asks for, by `Last-Event-ID` or `?from=`.

    Raises:
        InvalidArgumentError: the position is malformed.
    """
    try:
        query = parse_qs(urlsplit(request.url).query, keep_blank_values=True)
    except ValueError:
        query = {}
    return parse_position(request.header("Last-Event-ID"), query.get("from", [None])[0])


class EventRequests:
    """Opens, serves and closes the listeners of one stream's object."""

    def __init__(self, host: ObjectHost, audience: Audience, ends: BodyEnds) -> None:
        self._host = host
        self._audience = audience
        self._ends = ends

    def answer(self, log: StreamLog, stream_id: str, request: HttpRequest) -> HttpResponse:
        """Answer with the events after the request's position: over a WebSocket if the request asks for one.

        Raises:
            InvalidArgumentError, StreamNotFoundError, SequenceConflictError: the request is refused, and nothing was opened.
        """
        if request.method != "GET":
            return HttpResponse.refusal(405, "method_not_allowed", "events are read with GET", headers={"allow": "GET"})
        if (wire := wire_of(request)) is not None:
            return self._as_message(log, request, wire)
        position = position_of(request)
        place = replace(place_at(log.head_from(position), position), until_ms=self._until_ms(request))
        if (request.header("Upgrade") or "").lower() == "websocket":
            return HttpResponse(status=101, web_socket=self._audience.add_socket(stream_id, place))
        return self._as_events(log, place)

    def message(self, socket: ObjectSocket, text: object) -> None:
        """Take a client's message. Anything but `ack` closes the socket, because every message wakes the object."""
        if text == ACKNOWLEDGEMENT:
            self._audience.acknowledged(socket)
        else:
            self._audience.left(socket)
            socket.close(POLICY_VIOLATION, f"a listener sends {ACKNOWLEDGEMENT!r} or 'ping', nothing else")

    def closed(self, socket: ObjectSocket, code: int = NORMAL_CLOSURE) -> None:
        """Close this side of a socket that the client has closed or that broke. The client waits for this."""
        self._audience.left(socket)
        socket.close(code if code in ANSWERED_CODES else NORMAL_CLOSURE, "")

    def _as_message(self, log: StreamLog, request: HttpRequest, wire: PageWire) -> HttpResponse:
        """Answer a chat page with one message, or with 204 if it wants to resume one and none is being written."""
        position = position_of(request)
        head = log.head_from(position)
        if request.header(RESUME):
            if idle(head):
                return HttpResponse(status=204)
            place = resume_place(head)
        else:
            place = message_place(head, position)
        body = self._host.event_body()
        sink = MessageSink(body, self._ends, wire)
        sink.listener = self._audience.add(log, place, sink, wire)
        body.feed_from(sink.listener)
        return HttpResponse(status=200, headers=dict(wire.headers), body=body.stream)

    def _until_ms(self, request: HttpRequest) -> int | None:
        left_ms = request.header(LEFT)
        return None if left_ms is None else self._host.now_ms() + int(left_ms)

    def _as_events(self, log: StreamLog, place: Place) -> HttpResponse:
        body = self._host.event_body()
        body.feed_from(self._audience.add(log, place, _BodySink(body, self._ends)))
        return HttpResponse(status=200, headers=dict(HEADERS), body=body.stream)


class _BodySink:
    """A response body as a `FrameSink`. The listener's place is forgotten when the response ends."""

    def __init__(self, body: EventBody, ends: BodyEnds) -> None:
        self._body = body
        self._ends = ends
        self.push = body.push
        self.has_read = body.has_read
        self.break_off = body.break_off

    def close(self) -> None:
        """End the response after the frames that it holds."""
        self._ends.end(self._body)

    def remember(self, place: Place) -> None:
        """Do nothing: when the object's memory ends, the open response ends too."""
