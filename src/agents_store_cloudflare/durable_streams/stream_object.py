"""What a stream's Durable Object does with a call: the log, the readers who wait, the listeners who are pushed to."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Final

from agents_store_cloudflare.contract.errors import AgentsStoreError, InvalidArgumentError, StreamTruncatedError
from agents_store_cloudflare.contract.json_values import JsonObject
from agents_store_cloudflare.durable_streams.core import ProtocolLog
from agents_store_cloudflare.durable_streams.live import LiveFeeds
from agents_store_cloudflare.durable_streams.operations import PREFIX, answer_operation
from agents_store_cloudflare.durable_streams.subscriptions.index_object import PREFIX as INDEX_PREFIX
from agents_store_cloudflare.durable_streams.subscriptions.index_object import SubscriptionIndex
from agents_store_cloudflare.durable_streams.wires import ProtocolWires
from agents_store_cloudflare.objects import ObjectHost, ObjectSocket
from agents_store_cloudflare.objects.http_messages import HttpRequest, HttpResponse
from agents_store_cloudflare.objects.rpc_text import WireMessage, decode_request, encode_error, encode_reply
from agents_store_cloudflare.streams.audience import Audience
from agents_store_cloudflare.streams.event_requests import EventRequests
from agents_store_cloudflare.streams.head import StreamHead
from agents_store_cloudflare.streams.lifecycle import next_alarm_ms
from agents_store_cloudflare.streams.log import StreamLog
from agents_store_cloudflare.streams.native_view import native_lines
from agents_store_cloudflare.streams.operations import OPERATIONS, Arguments
from agents_store_cloudflare.streams.subscription import FrameSink, Subscription

__all__ = ["StreamObject"]

MAX_WAIT_MS: Final = 60_000
MAX_PAGE_BYTES: Final = 2 * 1024 * 1024


class StreamObject:
    """One stream as an `ObjectLogic`. Between two awaits it is alone, and every write is done between two awaits.

    Args:
        host: the object's platform.
        logger: takes what is not the package's own error; its text never leaves the object.

    Attributes:
        logger: the one given, or `agents_store_cloudflare.streams`.
    """

    def __init__(self, host: ObjectHost, *, logger: logging.Logger | None = None) -> None:
        self._host = host
        self.logger: logging.Logger = logger or logging.getLogger("agents_store_cloudflare.streams")
        self._log: StreamLog | None = None
        self._audience = Audience(host, self.logger, self._log_of)
        self._wires = EventRequests(host, self._audience)
        self._feeds = LiveFeeds(host, self.logger)
        self._protocol = ProtocolWires(host, self, self._feeds, self.logger)
        self._rules: ProtocolLog | None = None
        self._index: SubscriptionIndex | None = None
        self._waiting: set[asyncio.Future[None]] = set()
        self._cancel_storing: Callable[[], None] | None = None
        self._instance = secrets.token_hex(4)

    async def call(self, request: str) -> str:
        """`ObjectLogic.call`: append, store, read, or one of `OPERATIONS`."""
        reply = self.answer(request)
        return reply if isinstance(reply, str) else await reply

    def answer(self, request: str) -> str | Awaitable[str]:
        """The reply of `call`, at once unless it must be waited for: a coroutine costs the platform more than most replies."""
        try:
            return self._answer(decode_request(request))
        except Exception as error:  # noqa: BLE001 - whatever it is, a traceback must not leave the object
            return encode_error(error, self.logger)

    async def alarm(self) -> None:
        """`ObjectLogic.alarm`: delete what retention gives up, or look again when that will be."""
        index = self._subscriptions()
        if index.is_there():
            await index.alarm()
            return
        log = self._log or StreamLog(self._host.sql, "")  # an object that an alarm has woken does not know its name
        head = self._living(log)
        at_ms = None if head is None else next_alarm_ms(head)
        if at_ms is not None:
            self._host.set_alarm(at_ms)

    def subscribe(self, stream_id: str, from_sequence: int, sink: FrameSink) -> Subscription:
        """Send `sink` what follows `from_sequence`, then what is appended, then the outcome, from the first `pull` on.

        Raises:
            StreamNotFoundError: no such stream.
            SequenceConflictError: `from_sequence` is above the last one.
        """
        log = self._log_of(stream_id)
        self._living(log)
        log.head_from(from_sequence)
        return self._audience.add(log, from_sequence, sink)

    def fetch(self, stream_id: str, request: HttpRequest) -> HttpResponse:
        """Answer a listener's HTTP request; errors are JSON, and a traceback never leaves the object."""
        try:
            log = self._log_of(stream_id)
            self._living(log)
            return self._wires.answer(log, stream_id, request)
        except AgentsStoreError as error:
            return HttpResponse.of_error(error)
        except Exception as error:  # noqa: BLE001 - whatever it is
            return HttpResponse.of_failure(error, self.logger)

    async def serve(self, stream_id: str, request: HttpRequest) -> HttpResponse:
        """Answer a request of the Durable Streams protocol; errors are JSON."""
        log = self._log_of(stream_id)
        return await self._protocol.answer(log, self._rules_of(log), request)

    def living(self, log: StreamLog) -> StreamHead | None:
        """`StreamStage.living`."""
        return self._living(log)

    def changed(self, before: StreamHead | None, after: StreamHead | None) -> None:
        """`StreamStage.changed`."""
        self._tell(before, after)

    def appended(self, log: StreamLog, first_sequence: int, lines: str) -> None:
        """`StreamStage.appended`."""
        self._wake()
        head = log.existing_head()
        self._audience.appended(first_sequence, native_lines(head.facts, lines), head.last_sequence)
        self._feeds.appended(head, lines, first_sequence)

    async def until(self, is_there: Callable[[], bool], wait_ms: int) -> None:
        """`StreamStage.until`."""
        await self._until(is_there, wait_ms)

    def socket_message(self, socket: ObjectSocket, text: object) -> None:
        """A client has sent something over its WebSocket."""
        self._wires.message(socket, text)

    def socket_closed(self, socket: ObjectSocket) -> None:
        """A client's WebSocket is closed."""
        self._wires.closed(socket)

    def _answer(self, message: WireMessage) -> str | Awaitable[str]:
        arguments = message.head
        op, log = arguments["op"], self._log_of(arguments["streamId"])
        if op == "read":
            return self._read(log, arguments)
        if op == "append":
            return self._append(log, arguments, message.payload)
        if op == "store":
            return self._store(log)
        if op.startswith(INDEX_PREFIX):
            return self._from_index(message)
        if op.startswith(PREFIX):
            before = self._living(log)
            reply = answer_operation(self._host, log, self._rules_of(log), message)
            self._tell(before, log.head())
            return reply
        operation = OPERATIONS.get(op)
        if operation is None:
            raise InvalidArgumentError(f"a stream has no operation {op!r}; does the Worker run an older version?")
        before = self._living(log)
        reply = operation(log, arguments, message.payload, self._host.now_ms())
        self._tell(before, log.head())
        return reply

    async def _from_index(self, message: WireMessage) -> str:
        try:
            return await self._subscriptions().answer(message)
        except Exception as error:  # noqa: BLE001 - whatever it is, a traceback must not leave the object
            return encode_error(error, self.logger)

    def _log_of(self, stream_id: str) -> StreamLog:
        if self._log is None:
            self._log = StreamLog(self._host.sql, stream_id)
        return self._log

    def _subscriptions(self) -> SubscriptionIndex:
        if self._index is None:
            self._index = SubscriptionIndex(self._host, self.logger)
        return self._index

    def _rules_of(self, log: StreamLog) -> ProtocolLog:
        if self._rules is None:
            self._rules = ProtocolLog(log)
        return self._rules

    def _living(self, log: StreamLog) -> StreamHead | None:
        """The stream as it stands now: what retention gives up is gone from that moment on, alarm or not."""
        before = log.head()
        if log.expire(now_ms=self._host.now_ms()):
            self._tell(before, None)
        return log.head()

    def _tell(self, before: StreamHead | None, after: StreamHead | None) -> None:
        """Let everybody know who has to: those who wait, those who listen, the alarm."""
        if after == before:
            return
        self._wake()
        if after is None:
            self._audience.gone()
            self._feeds.broken_off()
            return
        if after.alarm_at is not None and (before is None or after.alarm_at != before.alarm_at):
            self._host.set_alarm(after.alarm_at)
        if before is not None and after.incarnation != before.incarnation:
            self._audience.reset(after)
            self._feeds.broken_off()
        elif before is not None and after.is_closed and not before.is_closed:
            self._audience.closed(after)
            self._feeds.closed(after)

    def _append(self, log: StreamLog, arguments: Arguments, payload: str) -> str:
        head = self._living(log)
        if head is not None and head.facts is not None and not head.facts.is_json:
            raise InvalidArgumentError(f"the stream holds {head.facts.content_type}; chunks are JSON")
        window_ms: int | None = arguments.get("lossWindowMs")
        appended = log.append(
            payload,
            writer=arguments["writer"],
            writer_sequence=arguments["writerSequence"],
            expected_sequence=arguments["expectedSequence"],
            fencing_token=arguments["fencingToken"],
            is_held=window_ms is not None,
            now_ms=self._host.now_ms(),
        )
        if not appended.is_repetition:
            self.appended(log, appended.first_sequence, payload)
        if window_ms is not None:
            self._store_within(window_ms)
        return encode_reply({"lastSequence": appended.last_sequence, **self._survival(log)})

    def _store(self, log: StreamLog) -> str:
        """Make durable what was shown."""
        self._living(log)
        log.existing_head()
        log.store_held(now_ms=self._host.now_ms())
        return encode_reply(self._survival(log))

    def _survival(self, log: StreamLog) -> JsonObject:
        """By which a writer sees that the object was restarted, and what is stored by now."""
        return {"instance": self._instance, "storedSequence": log.stored_sequence()}

    def _store_within(self, window_ms: int) -> None:
        """Store what is held when the window has passed; once more with nothing new, and the object may sleep."""
        if self._cancel_storing is None:
            self._cancel_storing = self._host.call_later(window_ms, lambda: self._store_held(window_ms))

    def _store_held(self, window_ms: int) -> None:
        self._cancel_storing = None
        log = self._log
        if log is None:
            return
        try:
            log.store_held(now_ms=self._host.now_ms())
        except Exception:
            self.logger.exception("what was shown could not be stored yet: incident %s", secrets.token_hex(6))
        if log.has_held():
            self._store_within(window_ms)

    def _read(self, log: StreamLog, arguments: Arguments) -> str | Awaitable[str]:
        """One page of what follows `fromSequence`; where there is nothing yet, the first that comes within `waitMs`.

        `waitFor` "stream" waits for the stream to exist; "chunks" for a chunk or the outcome.
        """

        def is_there() -> bool:
            waits_for_stream = arguments["waitFor"] == "stream"
            return self._living(log) is not None if waits_for_stream else self._has_news(log, arguments)

        if arguments["waitMs"] > 0 and not is_there():
            return self._read_later(log, arguments, is_there)
        return self._page(log, arguments)

    async def _read_later(self, log: StreamLog, arguments: Arguments, is_there: Callable[[], bool]) -> str:
        try:
            await self._until(is_there, min(arguments["waitMs"], MAX_WAIT_MS))
            return self._page(log, arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, a traceback must not leave the object
            return encode_error(error, self.logger)

    def _page(self, log: StreamLog, arguments: Arguments) -> str:
        self._living(log)
        head = log.existing_head()
        position = _position(arguments, head)
        page = log.read(position, max_bytes=min(arguments["maxBytes"], MAX_PAGE_BYTES))
        if arguments.get("incarnation", head.incarnation) != head.incarnation:
            # Caught up when it was reset: nothing is missing, and yet what it has is not the stream any more.
            raise StreamTruncatedError(log.stream_id, from_sequence=position, first_sequence=head.first_sequence)
        place: JsonObject = {"firstSequence": page.first_sequence, "count": page.count}
        state: JsonObject = {"status": head.status, "error": head.error, "incarnation": head.incarnation}
        body = native_lines(head.facts, page.body)
        return encode_reply({**place, **state, "lastSequence": head.last_sequence}, body)

    def _has_news(self, log: StreamLog, arguments: Arguments) -> bool:
        self._living(log)
        head = log.existing_head()
        if head.status != "active" or arguments.get("incarnation", head.incarnation) != head.incarnation:
            return True
        # A position above the last one is news too: the read refuses it.
        return head.last_sequence != _position(arguments, head)

    async def _until(self, is_there: Callable[[], bool], wait_ms: int) -> None:
        """Return when the condition holds, or the time is up. A platform timer: asyncio's would outlive the wait."""
        time_is_up = asyncio.Event()
        cancel_timer = self._host.call_later(wait_ms, lambda: self._ring(time_is_up))
        try:
            while not time_is_up.is_set() and not is_there():
                await self._next_change()
        finally:
            cancel_timer()

    def _ring(self, time_is_up: asyncio.Event) -> None:
        time_is_up.set()
        self._wake()

    async def _next_change(self) -> None:
        change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(change)
        try:
            await change
        finally:
            self._waiting.discard(change)

    def _wake(self) -> None:
        for change in self._waiting:
            if not change.done():
                change.set_result(None)


def _position(arguments: Arguments, head: StreamHead) -> int:
    """What the reader has; None is "whatever is there"."""
    from_sequence: int | None = arguments["fromSequence"]
    return head.first_sequence - 1 if from_sequence is None else from_sequence
