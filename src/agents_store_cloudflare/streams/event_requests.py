"""How a stream's object answers the HTTP requests of those who listen: events by SSE or over a WebSocket."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

from agents_store_cloudflare.contract.errors import StreamTruncatedError
from agents_store_cloudflare.objects import EventBody, ObjectHost, ObjectSocket
from agents_store_cloudflare.objects.http_messages import HttpRequest, HttpResponse
from agents_store_cloudflare.streams.audience import Audience
from agents_store_cloudflare.streams.log import StreamLog
from agents_store_cloudflare.streams.socket_sink import ACKNOWLEDGEMENT, Place
from agents_store_cloudflare.streams.sse import HEADERS, parse_position

__all__ = ["EventRequests", "position_of"]

POLICY_VIOLATION = 1008


def position_of(request: HttpRequest) -> int:
    """The position a request asks for, by `Last-Event-ID` or `?from=`.

    Raises:
        InvalidArgumentError: it is malformed.
    """
    try:
        query = parse_qs(urlsplit(request.url).query, keep_blank_values=True)
    except ValueError:
        query = {}
    return parse_position(request.header("Last-Event-ID"), query.get("from", [None])[0])


class EventRequests:
    """The live wires of one stream's object."""

    def __init__(self, host: ObjectHost, audience: Audience) -> None:
        self._host = host
        self._audience = audience

    def answer(self, log: StreamLog, stream_id: str, request: HttpRequest) -> HttpResponse:
        """The events after the request's position, over a WebSocket where it asks for one.

        Raises:
            InvalidArgumentError, StreamNotFoundError, SequenceConflictError: it cannot be answered; nothing was opened.
        """
        if request.method != "GET":
            return HttpResponse.refusal(405, "method_not_allowed", "events are read with GET", headers={"allow": "GET"})
        position = position_of(request)
        with suppress(StreamTruncatedError):
            # Said by a frame: the events go on with what is kept.
            log.head_from(position)
        if position == 0:
            # "I have nothing" misses nothing that it had: it begins where the stream does.
            position = log.existing_head().first_sequence - 1
        if (request.header("Upgrade") or "").lower() == "websocket":
            return HttpResponse(status=101, web_socket=self._audience.add_socket(stream_id, position))
        return self._as_events(log, position)

    def message(self, socket: ObjectSocket, text: object) -> None:
        """What a client sends: `ack`. Anything else closes the socket, since every message costs its stream a wake-up."""
        if text == ACKNOWLEDGEMENT:
            self._audience.acknowledged(socket)
        else:
            self._audience.left(socket)
            socket.close(POLICY_VIOLATION, f"a listener sends {ACKNOWLEDGEMENT!r} or 'ping', nothing else")

    def closed(self, socket: ObjectSocket) -> None:
        """The client has closed the socket, or it broke."""
        self._audience.left(socket)

    def _as_events(self, log: StreamLog, position: int) -> HttpResponse:
        body = self._host.event_body()
        body.feed_from(self._audience.add(log, position, _BodySink(body)))
        return HttpResponse(status=200, headers=dict(HEADERS), body=body.stream)


class _BodySink:
    """A response body as a `FrameSink`: its listener's place goes with it."""

    def __init__(self, body: EventBody) -> None:
        self._body = body
        self.push = body.push
        self.close = body.close

    def remember(self, place: Place) -> None:
        """`FrameSink.remember`: nothing of an open response outlives the object's memory."""
