"""What a stream's Durable Object does with a call: the log, the readers who wait, the listeners who are pushed to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from agents_store_cloudflare.errors import AgentsStoreError, InvalidArgumentError
from agents_store_cloudflare.http_messages import HttpRequest, HttpResponse
from agents_store_cloudflare.json_values import JsonObject
from agents_store_cloudflare.objects import ObjectHost, ObjectSocket
from agents_store_cloudflare.records import StreamInfo
from agents_store_cloudflare.streams.audience import Audience
from agents_store_cloudflare.streams.head import StreamHead
from agents_store_cloudflare.streams.log import StreamLog
from agents_store_cloudflare.streams.subscription import FrameSink, Subscription
from agents_store_cloudflare.streams.wires import StreamWires
from agents_store_cloudflare.wire import WireMessage, decode_request, encode_error, encode_reply

__all__ = ["StreamObject"]

MAX_WAIT_MS: Final = 60_000
MAX_PAGE_BYTES: Final = 2 * 1024 * 1024

Arguments: TypeAlias = "Mapping[str, Any]"


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
        self._wires = StreamWires(host, self._audience)
        self._waiting: set[asyncio.Future[None]] = set()
        self._operations: dict[str, Callable[[StreamLog, Arguments, str], str]] = {
            "create": self._create,
            "append": self._append,
            "end": self._end,
            "fail": self._fail,
            "info": self._info,
        }

    async def call(self, request: str) -> str:
        """`ObjectLogic.call`: create, append, read, end, fail or info."""
        try:
            return await self._answer(decode_request(request))
        except Exception as error:  # noqa: BLE001 - whatever it is, a traceback must not leave the object
            return encode_error(error, self.logger)

    async def alarm(self) -> None:
        """`ObjectLogic.alarm`. Streams set none."""

    def subscribe(self, stream_id: str, from_sequence: int, sink: FrameSink) -> Subscription:
        """Send `sink` what follows `from_sequence`, then what is appended, then the outcome, from the first `pull` on.

        Raises:
            StreamNotFoundError: no such stream.
            SequenceConflictError: `from_sequence` is above the last one.
        """
        log = self._log_of(stream_id)
        log.head_from(from_sequence)
        return self._audience.add(log, from_sequence, sink)

    def fetch(self, stream_id: str, request: HttpRequest) -> HttpResponse:
        """Answer a listener's HTTP request; errors are JSON, and a traceback never leaves the object."""
        try:
            return self._wires.answer(self._log_of(stream_id), stream_id, request)
        except AgentsStoreError as error:
            return HttpResponse.of_error(error)
        except Exception as error:  # noqa: BLE001 - whatever it is
            return HttpResponse.of_failure(error, self.logger)

    def socket_message(self, socket: ObjectSocket, text: object) -> None:
        """A client has sent something over its WebSocket."""
        self._wires.message(socket, text)

    def socket_closed(self, socket: ObjectSocket) -> None:
        """A client's WebSocket is closed."""
        self._wires.closed(socket)

    async def _answer(self, message: WireMessage) -> str:
        arguments = message.head
        op, log = arguments["op"], self._log_of(arguments["streamId"])
        if op == "read":
            return await self._read(log, arguments)
        operation = self._operations.get(op)
        if operation is None:
            raise InvalidArgumentError(f"a stream has no operation {op!r}; does the Worker run an older version?")
        return operation(log, arguments, message.payload)

    def _log_of(self, stream_id: str) -> StreamLog:
        if self._log is None:
            self._log = StreamLog(self._host.sql, stream_id)
        return self._log

    def _create(self, log: StreamLog, arguments: Arguments, _payload: str) -> str:
        is_new = log.head() is None
        head = log.create(now_ms=self._host.now_ms(), fencing_token=arguments["fencingToken"])
        if is_new:
            self._wake()
        return encode_reply({"status": head.status, "endStatus": head.end_status, "lastSequence": head.last_sequence})

    def _append(self, log: StreamLog, arguments: Arguments, payload: str) -> str:
        appended = log.append(
            payload,
            writer=arguments["writer"],
            writer_sequence=arguments["writerSequence"],
            expected_sequence=arguments["expectedSequence"],
            fencing_token=arguments["fencingToken"],
            now_ms=self._host.now_ms(),
        )
        if not appended.is_repetition:
            self._wake()
            self._audience.appended(appended.first_sequence, payload, appended.last_sequence)
        return encode_reply({"lastSequence": appended.last_sequence})

    def _end(self, log: StreamLog, arguments: Arguments, payload: str) -> str:
        is_first = log.end(
            status=arguments["status"],
            output=payload,
            fencing_token=arguments["fencingToken"],
            now_ms=self._host.now_ms(),
        )
        return self._closed(log, is_first=is_first)

    def _fail(self, log: StreamLog, arguments: Arguments, _payload: str) -> str:
        is_first = log.fail(
            error=arguments["error"], fencing_token=arguments["fencingToken"], now_ms=self._host.now_ms()
        )
        return self._closed(log, is_first=is_first)

    def _closed(self, log: StreamLog, *, is_first: bool) -> str:
        if is_first:
            self._wake()
            self._audience.closed(log.existing_head())
        return encode_reply(None)

    def _info(self, log: StreamLog, arguments: Arguments, _payload: str) -> str:
        head = log.head()
        if head is None:
            return encode_reply(None)
        info = _info_of(arguments["streamId"], head, writers=log.writer_count())
        return encode_reply(info.to_dict(), head.output or "")

    async def _read(self, log: StreamLog, arguments: Arguments) -> str:
        """One page of what follows `fromSequence`; where there is nothing yet, the first that comes within `waitMs`.

        `waitFor` "stream" waits for the stream to exist; "chunks" for a chunk or the outcome.
        """
        from_sequence, wait_ms = arguments["fromSequence"], min(arguments["waitMs"], MAX_WAIT_MS)
        if arguments["waitFor"] == "stream":
            await self._until(lambda: log.head() is not None, wait_ms)
        else:
            await self._until(lambda: _has_news(log.existing_head(), from_sequence), wait_ms)
        head = log.existing_head()
        page = log.read(from_sequence, max_bytes=min(arguments["maxBytes"], MAX_PAGE_BYTES))
        place: JsonObject = {"firstSequence": page.first_sequence, "count": page.count}
        return encode_reply(
            {**place, "lastSequence": head.last_sequence, "status": head.status, "error": head.error}, page.body
        )

    async def _until(self, is_there: Callable[[], bool], wait_ms: int) -> None:
        """Return when the condition holds, or the time is up. A platform timer: asyncio's would outlive the wait."""
        if wait_ms <= 0 or is_there():
            return
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


def _has_news(head: StreamHead, from_sequence: int) -> bool:
    # A position above the last one is news too: the read refuses it.
    return head.status != "active" or head.last_sequence != from_sequence


def _info_of(stream_id: str, head: StreamHead, *, writers: int) -> StreamInfo:
    return StreamInfo(
        stream_id=stream_id,
        status=head.status,
        end_status=head.end_status,
        first_sequence=head.first_sequence,
        last_sequence=head.last_sequence,
        count=head.last_sequence - head.first_sequence + 1,
        error=head.error,
        writers=writers,
        created_at=head.created_at,
        updated_at=head.updated_at,
        ended_at=head.ended_at,
    )
