"""The logic of a stream's Durable Object. It applies calls to the log, and tells waiting calls and listeners of changes."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Final, cast

from agents_store_cloudflare.contract.errors import AgentsStoreError, InvalidArgumentError, StreamClosedError
from agents_store_cloudflare.contract.json_values import JsonObject
from agents_store_cloudflare.durable_streams.answers import ProtocolAnswers
from agents_store_cloudflare.durable_streams.core import ProtocolLog
from agents_store_cloudflare.durable_streams.fork_upkeep import ForkUpkeep
from agents_store_cloudflare.durable_streams.live import LiveFeeds
from agents_store_cloudflare.durable_streams.operations import PREFIX, READS as PROTOCOL_READS, answer_operation
from agents_store_cloudflare.durable_streams.subscriptions.index_object import PREFIX as INDEX_PREFIX, SubscriptionIndex
from agents_store_cloudflare.durable_streams.telling import TOLD_HEADER, Tellings
from agents_store_cloudflare.objects import ObjectHost, ObjectSocket
from agents_store_cloudflare.objects.http_messages import HttpRequest, HttpResponse
from agents_store_cloudflare.objects.rpc_text import WireMessage, decode_request, encode_error, encode_reply
from agents_store_cloudflare.objects.wiring import DESCRIBE, check_addressed, describe
from agents_store_cloudflare.streams.audience import Audience
from agents_store_cloudflare.streams.body_ends import BodyEnds
from agents_store_cloudflare.streams.changes import Changes
from agents_store_cloudflare.streams.event_requests import EventRequests
from agents_store_cloudflare.streams.head import StreamHead
from agents_store_cloudflare.streams.lifecycle import next_alarm_ms
from agents_store_cloudflare.streams.log import StreamLog
from agents_store_cloudflare.streams.loss_window import LossWindow
from agents_store_cloudflare.streams.operations import OPERATIONS, Arguments
from agents_store_cloudflare.streams.page_reads import PageReads
from agents_store_cloudflare.streams.subscription import FrameSink, Subscription, place_at
from agents_store_cloudflare.streams.turn_closings import TurnClosing

__all__ = ["StreamObject"]


READS: Final = frozenset({"read", "info", "lost", "mark", "copy_page", *(PREFIX + op for op in PROTOCOL_READS)})
"""The operations that change no stream. After them nobody has to be told."""


class StreamObject:
    """One stream as an `ObjectLogic`. No change contains an await, so no other call runs during a change.

    Args:
        host: the object's platform.
        logger: gets unexpected errors. Their text never leaves the object.

    Attributes:
        logger: the given logger, or `agents_store_cloudflare.streams`.
    """

    def __init__(self, host: ObjectHost, *, logger: logging.Logger | None = None) -> None:
        self._host = host
        self.logger: logging.Logger = logger or logging.getLogger("agents_store_cloudflare.streams")
        self._log: StreamLog | None = None
        self._audience = Audience(host, self.logger, self._log_of)
        ends = BodyEnds(host)
        self._listening = EventRequests(host, self._audience, ends)
        self._feeds = LiveFeeds(host, ends, self.logger)
        self._protocol = ProtocolAnswers(host, self, self._feeds, self.logger)
        self._upkeep = ForkUpkeep(host, self.logger)
        self._rules: ProtocolLog | None = None
        self._index: SubscriptionIndex | None = None
        self._changes = Changes(host)
        self._reads = PageReads(self._changes, self.living, self.logger)
        self._tellings = Tellings(host, self.logger)
        self._loss_window = LossWindow(host, self.logger, stored=self._tellings.tell_later)
        self._instance = secrets.token_hex(4)

    async def call(self, request: str) -> str:
        """Answer one request text with one reply text: append, store, read, or one of `OPERATIONS`."""
        reply = self.answer(request)
        return reply if isinstance(reply, str) else await reply

    def answer(self, request: str) -> str | Awaitable[str]:
        """Return the reply of `call`, or an awaitable of it.

        Most replies come at once, because a coroutine would cost more than the reply.
        """
        try:
            message = decode_request(request)
            return describe("stream", self._host.sql) if message.head["op"] == DESCRIBE else self._answer(message)
        except Exception as error:  # noqa: BLE001 - whatever it is, a traceback must not leave the object
            return encode_error(error, self.logger)

    def answer_part(self, request: str) -> str:
        """Reply to an append, a create or a closing that is a part of a larger call: at once. The index is told afterwards."""
        try:
            message = decode_request(request)
            log = self._log_of(message.head["streamId"])
            reply = self._replied(message, message.head["op"], log)
        except Exception as error:  # noqa: BLE001 - whatever it is, a traceback must not leave the object
            return encode_error(error, self.logger)
        self._tellings.tell_later(log)
        return cast("str", reply)

    async def alarm(self) -> None:
        """Delete the stream if its retention has run out. Otherwise set the alarm for that time."""
        index = self._subscriptions()
        if index.is_there():
            await index.alarm()
            return
        log = self._log or StreamLog(
            self._host.sql, ""
        )  # an object that an alarm has woken does not know its stream's id
        head = self.living(log)
        if self._tellings.owes(log):
            await self._tellings.tell(log)
        due = [None if head is None else next_alarm_ms(head)]
        due.append(await self._upkeep.alarm(self._rules or ProtocolLog(log, self._host.sql)))
        at_ms = min((each for each in due if each is not None), default=None)
        if at_ms is not None:
            self._host.set_alarm(at_ms)

    def waits(self) -> int | None:
        """Return the time in ms at which the stream's alarm has work; None for never. An object that has other parts too calls this."""
        log = self._log or StreamLog(self._host.sql, "")
        head = log.head()
        return None if head is None else next_alarm_ms(head)

    def sequence_after(self, append: str) -> int:
        """Return the last sequence that the stream will have after this append, if it takes it."""
        message = decode_request(append)
        arguments = message.head
        count = message.payload.count("\n") + 1
        log = self._log_of(arguments["streamId"])
        return log.sequence_after(arguments["writer"], arguments["writerSequence"], count)

    def forget(self) -> None:
        """Read the stream from its rows again: a transaction around a change was undone."""
        self._log = self._rules = None

    def subscribe(self, stream_id: str, from_sequence: int, sink: FrameSink) -> Subscription:
        """Send the chunks after `from_sequence` to `sink`, then new chunks, then the outcome.

        The sending begins with the first `pull`.

        Raises:
            StreamNotFoundError: there is no such stream.
            SequenceConflictError: `from_sequence` is above the last sequence.
        """
        log = self._log_of(stream_id)
        self.living(log)
        return self._audience.add(log, place_at(log.head_from(from_sequence), from_sequence), sink)

    def fetch(self, stream_id: str, request: HttpRequest) -> HttpResponse:
        """Answer a listener's HTTP request. Errors are JSON, and no traceback leaves the object."""
        try:
            log = self._log_of(stream_id)
            self.living(log)
            return self._listening.answer(log, stream_id, request)
        except AgentsStoreError as error:
            return HttpResponse.of_error(error)
        except Exception as error:  # noqa: BLE001 - whatever it is
            return HttpResponse.of_failure(error, self.logger)

    async def serve(self, stream_id: str, request: HttpRequest) -> HttpResponse:
        """Answer a request of the Durable Streams protocol; errors are JSON."""
        log = self._log_of(stream_id)
        answer = await self._protocol.answer(log, self._rules_of(log), request)
        if request.method not in ("PUT", "POST") or not self._tellings.is_marked():
            return answer
        if self._tellings.owes(log):
            await self._tellings.tell(log)
        return answer.with_headers({TOLD_HEADER: "1"})

    def living(self, log: StreamLog) -> StreamHead | None:
        """Return the head of the stream, or None. A stream whose retention is over is gone, even before the alarm rings."""
        before = log.head()
        if log.expire(now_ms=self._host.now_ms()):
            self.changed(log, before, None)
        return log.head()

    def changed(self, log: StreamLog, before: StreamHead | None, after: StreamHead | None) -> None:
        """Tell the waiting calls, the listeners and the alarm that the head of the stream has changed."""
        if after == before:
            return
        self._changes.wake()
        if after is None:
            self._audience.gone()
            self._feeds.broken_off()
            self._upkeep.gone(self._rules or ProtocolLog(log, self._host.sql))
            return
        if after.alarm_at is not None and (before is None or after.alarm_at != before.alarm_at):
            self._host.set_alarm(after.alarm_at)
        if before is not None and after.incarnation != before.incarnation:
            self._audience.reset()
            self._feeds.broken_off()
        elif before is not None and after.is_closed and not before.is_closed:
            self._audience.closed(after)
            self._feeds.closed(after)

    def appended(self, log: StreamLog, first_sequence: int, lines: str) -> None:
        """Tell the waiting calls and the listeners about new chunks."""
        self._changes.wake()
        head = log.existing_head()
        self._audience.appended(head, first_sequence, lines)
        self._feeds.appended(head, lines, first_sequence)

    async def until(self, is_there: Callable[[], bool], wait_ms: int) -> None:
        """Wait until `is_there` returns True, at most `wait_ms` milliseconds."""
        await self._changes.until(is_there, wait_ms)

    def socket_message(self, socket: ObjectSocket, text: object) -> None:
        """Take a client's message over its WebSocket."""
        self._listening.message(socket, text)

    def socket_closed(self, socket: ObjectSocket, code: int) -> None:
        """Note that a client has closed its WebSocket with this code, or that it broke."""
        self._listening.closed(socket, code)

    def _answer(self, message: WireMessage) -> str | Awaitable[str]:
        arguments = message.head
        check_addressed("stream", arguments, "streamId")
        op, log = arguments["op"], self._log_of(arguments["streamId"])
        reply = self._replied(message, op, log)
        if op in READS or op.startswith(INDEX_PREFIX) or "untold" in arguments or not self._tellings.owes(log):
            return reply
        return self._told(log, reply)

    async def _told(self, log: StreamLog, reply: str | Awaitable[str]) -> str:
        """Tell the index about the change, then return the reply."""
        await self._tellings.tell(log)
        return reply if isinstance(reply, str) else await reply

    def _replied(self, message: WireMessage, op: str, log: StreamLog) -> str | Awaitable[str]:
        arguments = message.head
        if op == "read":
            return self._reads.read(log, arguments)
        if op in ("append", "close_turn"):
            store = self._append if op == "append" else self._close_turn
            return store(log, arguments, message.payload)
        if op == "store":
            return self._store(log)
        if op.startswith(INDEX_PREFIX):
            return self._from_index(message)
        if op.startswith(PREFIX):
            before = self.living(log)
            if op == PREFIX + "stand" and arguments.get("marks"):
                self._tellings.mark(log)
            reply = answer_operation(self._host, log, self._rules_of(log), message)
            self.changed(log, before, log.head())
            return reply
        operation = OPERATIONS.get(op)
        if operation is None:
            raise InvalidArgumentError(f"a stream has no operation {op!r:.100}; does the Worker run an older version?")
        before = self.living(log)
        if op in ("create", "restore") and before is None and self._rules_of(log).path.is_soft_deleted():
            raise StreamClosedError(log.stream_id, status="deleted")  # the forks of the deleted stream hold the path
        reply = operation(log, arguments, message.payload, self._host.now_ms())
        self.changed(log, before, log.head())
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
            self._rules = ProtocolLog(log, self._host.sql)
        return self._rules

    def _append(self, log: StreamLog, arguments: Arguments, payload: str) -> str:
        head = self.living(log)
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
            self._loss_window.store_within(log, window_ms)
        return encode_reply({"lastSequence": appended.last_sequence, **self._survival(log)})

    def _close_turn(self, log: StreamLog, arguments: Arguments, chunk: str) -> str:
        """Store the chunk that closes a turn, and pause the stream if the closing asks for it."""
        before = self.living(log)
        closing = TurnClosing(
            turn_id=arguments["turnId"],
            writer=arguments["writer"],
            incarnation=arguments["incarnation"],
            pauses=arguments["pauses"],
        )
        now_ms = self._host.now_ms()
        appended = log.close_turn(chunk, closing, now_ms=now_ms)
        if appended is not None and not appended.is_repetition:
            self.appended(log, appended.first_sequence, chunk)
            self.changed(log, before, log.head())
        return encode_reply({"lastSequence": None if appended is None else appended.last_sequence})

    def _store(self, log: StreamLog) -> str:
        """Store the chunks that were shown."""
        self.living(log)
        log.existing_head()
        log.store_held(now_ms=self._host.now_ms())
        return encode_reply(self._survival(log))

    def _survival(self, log: StreamLog) -> JsonObject:
        """Return the facts from which a writer learns which chunks are stored and whether the object was restarted."""
        return {"instance": self._instance, "storedSequence": log.stored_sequence()}
