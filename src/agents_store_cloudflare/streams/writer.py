"""The writer that users hold: it takes single chunks, and stores them in order in blocks, each chunk once."""

from __future__ import annotations

import asyncio
import logging
import secrets
import warnings
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, cast

from agents_store_cloudflare.contract.arguments import check_whole_number
from agents_store_cloudflare.contract.errors import (
    AgentsStoreError,
    StreamClosedError,
    StreamConnectionError,
    StreamError,
)
from agents_store_cloudflare.contract.json_values import JsonObject, decode_json
from agents_store_cloudflare.contract.streams.manager import StreamWriter
from agents_store_cloudflare.streams.batch_sender import BatchSender, WriterIdentity
from agents_store_cloudflare.streams.chunks import EncodedChunk, encode_chunk
from agents_store_cloudflare.streams.flush_timer import FlushTimer
from agents_store_cloudflare.streams.options import StreamOptions
from agents_store_cloudflare.streams.stream_client import StreamClient, reply_of, request_text
from agents_store_cloudflare.streams.time_limit import is_done_within
from agents_store_cloudflare.streams.writer_buffer import MAX_BATCH_BYTES, WriterBuffer

if TYPE_CHECKING:
    from agents_store_cloudflare.streams.travelling import Travelling

__all__ = ["DurableObjectStreamWriter"]

ROOM_WAIT_SECONDS: Final = 30.0


class DurableObjectStreamWriter(StreamWriter):
    """Writes chunks to a stream over RPC: one call per flush.

    A `write` that raises or is cancelled has not taken its chunk, and can be repeated. There is one exception: when the chunk is in
    `pending`, the call may have reached the stream. This happens when the call was cancelled on its way, and when a write with
    `expected_sequence` raised with `outcome_unknown`. A plain write returns even if its flush gets no reply. In all these cases the
    next write, flush or close stores the chunks once, or raises.

    When a call raises an error because of a chunk's `expected_sequence` or size, this chunk leaves `pending`.
    """

    def __init__(
        self,
        identity: WriterIdentity,
        client: StreamClient,
        options: StreamOptions,
        *,
        on_drop: Callable[[], None],
        on_close: Callable[[DurableObjectStreamWriter], None],
        writer_id: str | None = None,
    ) -> None:
        self._identity = identity
        self._client = client
        self._options = options
        self._on_drop = on_drop
        self._on_close = on_close
        self._id = writer_id or secrets.token_hex(8)
        self._interval_ms = options.interval_ms()
        self._buffer = WriterBuffer()
        self._sender = BatchSender(identity, self._id, self._buffer, client, options)
        self._turn = asyncio.Lock()
        self._taking = 0
        self._timer = FlushTimer(
            identity.stream_id,
            self._interval_ms / 1000,
            self._sender.store_taken,
            wait_until=options.wait_until,
            sleep=options.sleep,
            logger=self._logger(),
        )
        self._incarnation: str | None = None
        self._closed_writer: str | None = None
        self._is_opened = False
        self._is_closed = False

    def __del__(self) -> None:
        if self._is_opened and not self._is_closed:
            warnings.warn(
                f"a writer of stream {self.stream_id!r} was dropped without close(), with {len(self._buffer)} chunks that are not "
                "known to be stored. Use `async with stream_manager.create_writer(…)`, or call close()",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "open" if self._is_opened else "not opened"
        return f"<StreamWriter of {self.stream_id!r} {state}: sequence {self._sender.last_sequence}, {len(self._buffer)} pending>"

    @property
    def pending(self) -> Sequence[JsonObject]:
        return [cast("JsonObject", decode_json(text)) for text in self._buffer.texts()]

    @property
    def writer_id(self) -> str:
        """The name under which the stream knows this writer's flushes."""
        return self._id

    @property
    def incarnation(self) -> str | None:
        """The life of the stream that this writer was opened in, or None before `open`."""
        return self._incarnation

    @property
    def newest_closed_writer(self) -> str | None:
        """The writer of the newest closed turn at the moment when this writer was opened.

        A turn id may have several attempts; each has a writer of its own.
        """
        return self._closed_writer

    @property
    def last_sequence(self) -> int:
        """The newest sequence that the stream has confirmed to this writer."""
        return self._sender.last_sequence

    @property
    def stream_id(self) -> str:
        """The id of the stream that it writes to."""
        return self._identity.stream_id

    def speak_as(self, agent_id: str) -> None:
        """Write later chunks under the name and type of another agent."""
        self._identity = replace(self._identity, agent_id=agent_id)

    async def open(self) -> Self:
        """Make the stream unless it exists, and tell it the fencing token."""
        reply = await self._client.call(self.stream_id, "create", self._open_arguments())
        self._opened(reply.head["ok"])
        return self

    def open_request(self) -> str:
        """Return the text of `open`, for a writer that is opened together with other calls."""
        return request_text(self.stream_id, "create", self._open_arguments())

    def open_heard(self, reply: str) -> None:
        """Take note of the reply to `open_request`. Raises as `open` does."""
        self._opened(reply_of(self.stream_id, reply).head["ok"])

    def hold(self, fencing_token: int) -> None:
        """Send this token with everything from now on."""
        self._identity = replace(self._identity, fencing_token=fencing_token)
        self._sender.fencing_token = fencing_token

    def _open_arguments(self) -> JsonObject:
        return {
            "fencingToken": self._identity.fencing_token,
            "retention": self._options.retention_spans(),
            "commitId": self._id,
        }

    def _opened(self, stream: Mapping[str, Any]) -> None:
        self._is_opened = True
        self._sender.last_sequence = stream["lastSequence"]
        self._incarnation = stream["incarnation"]
        self._closed_writer = stream["closedTurn"] and stream["closedTurn"][2]
        if stream["status"] != "active":
            # The first write asks the stream at once: it may have been opened again.
            self._sender.failure = StreamClosedError(
                self.stream_id, status=stream["status"], end_status=stream["endStatus"]
            )

    async def write(self, chunk: Mapping[str, object], *, expected_sequence: int | None = None) -> None:
        identity, options = self._identity, self._options
        encoded = encode_chunk(
            identity.stream_id,
            chunk,
            agent_id=identity.agent_id,
            agent_type=identity.agent_type,
            now_ms=options.now_ms(),
            limit_bytes=options.max_chunk_bytes,
        )
        if expected_sequence is not None:
            check_whole_number(expected_sequence, "expected_sequence", low=1)
        if self._taking == 0 and expected_sequence is None and self._took_at_ease(encoded):
            return
        self._taking += 1  # from here on no other write overtakes this one
        try:
            async with self._turn:
                if self._is_closed:
                    raise StreamError(f"this writer of stream {self.stream_id!r} is closed; create another one")
                if expected_sequence is None:
                    await self._write_buffered(encoded)
                else:
                    await self._write_at(encoded, expected_sequence)
        finally:
            self._taking -= 1

    async def flush(self) -> int:
        await self._sender.flush()
        await self._sender.make_durable()
        return self._sender.last_sequence

    @asynccontextmanager
    async def travelling(self) -> AsyncGenerator[Travelling | None, None]:
        """Give the last chunks to a call that does more, inside the block. None if no chunk waits; an adaptive writer flushes first.

        Raises:
            AgentsStoreError: as `flush`.
        """
        if self._options.adaptive:
            await self.flush()
            yield None
            return
        from agents_store_cloudflare.streams.travelling import travelling  # noqa: PLC0415 - homes alone need it

        async with travelling(self._sender) as chunks:
            yield chunks

    async def flush_for_end(self) -> None:
        """Store all taken chunks before the stream ends. If the stream refuses them, the writer's own next call raises the error.

        Raises:
            StreamConnectionError: no answer came. StreamError: a restart has lost chunks shown before.
        """
        try:
            await self._sender.store_taken()
        except AgentsStoreError as error:
            if error.outcome_unknown:
                raise
            self._logger().warning("stream %r ends without the chunks of a writer: %s", self.stream_id, error)
            return
        await self._sender.make_durable()

    async def close(self) -> int:
        self._taking += 1
        try:
            async with self._turn:
                if not self._is_closed:
                    await self._sender.flush()
                    await self._sender.make_durable()
                    self.let_go()
        finally:
            self._taking -= 1
        return self._sender.last_sequence

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.close()
        except Exception:
            if error is None:
                raise
            # The author has to see the block's own exception.
            self._logger().warning("closing a writer of stream %r failed too", self.stream_id, exc_info=True)
        finally:
            self.let_go()

    def let_go(self) -> None:
        """Take no more chunks, stop the timer and close the connection to the object. `pending` stays readable."""
        if self._is_closed:
            return
        self._is_closed = True
        self._timer.stop()
        self._client.hang_up(self.stream_id)
        self._on_close(self)

    async def _write_buffered(self, encoded: EncodedChunk) -> None:
        if self._timer.is_starting:
            await asyncio.sleep(0)  # the flush takes its chunks: the buffer has room again
        await self._make_room()
        if self._took_at_ease(encoded):
            return
        self._buffer.take(encoded)
        if not self._is_due():
            self._timer.start()
            return
        try:
            await self._sender.flush(is_durable=not self._options.adaptive)
        except BaseException as error:
            if isinstance(error, AgentsStoreError) and error.outcome_unknown:
                return  # the next call sends the chunk again, or raises
            self._buffer.untake(encoded)
            raise

    async def _write_at(self, encoded: EncodedChunk, expected_sequence: int) -> None:
        await self._sender.flush()
        self._buffer.take(encoded, expected_sequence)
        try:
            await self._sender.flush()
        except BaseException:
            self._buffer.untake(encoded)
            raise

    async def _make_room(self) -> None:
        if self._options.overflow == "drop_oldest":
            await self._retry_if_worth_it()
            while self._is_full():
                self._buffer.drop_oldest()
                self._on_drop()
        elif self._is_full():
            await self._wait_for_room()
        elif len(self._buffer) and self._sender.failure is not None:
            await self._sender.flush()

    async def _retry_if_worth_it(self) -> None:
        """Send failed chunks again.

        After a refusal this happens at once, so that the caller gets the error. When no reply came, it happens once per flush
        interval.
        """
        failure = self._sender.failure
        if failure is None or not len(self._buffer):
            return
        is_recent = self._options.now_ms() - self._sender.last_attempt_ms < self._interval_ms
        if failure.outcome_unknown and is_recent:
            return
        try:
            await self._sender.flush()
        except AgentsStoreError as error:
            if not error.outcome_unknown:
                raise

    async def _wait_for_room(self) -> None:
        with self._sender.heard():
            has_room = await is_done_within(ROOM_WAIT_SECONDS, self._sender.store_taken(), sleep=self._options.sleep)
        if not has_room:
            raise StreamConnectionError(
                f"the buffer of a writer of stream {self.stream_id!r} stayed full for {ROOM_WAIT_SECONDS:.0f} s; "
                "this chunk was not taken, write it again later"
            )

    def _took_at_ease(self, encoded: EncodedChunk) -> bool:
        """Take a chunk if that needs no wait and makes no flush due. Return whether it was taken.

        With a timer a chunk only needs room. There is no await, so a write that is cancelled has not taken its chunk.
        """
        if self._sender.failure is not None or self._is_closed or self._options.adaptive or self._interval_ms == 0:
            return False
        if not self._timer.is_usable:
            since_ms = encoded.taken_ms - self._interval_ms
            return self._buffer.took_at_rest(encoded, self._options.buffer_size - 1, since_ms)
        if self._is_full() or self._buffer.size_bytes >= MAX_BATCH_BYTES:
            return False
        self._buffer.take(encoded)
        if self._is_full() or self._buffer.size_bytes >= MAX_BATCH_BYTES // 2:
            self._timer.flush_now()
        else:
            self._timer.start()
        return True

    def _is_full(self) -> bool:
        return self._buffer.waiting_count() >= self._options.buffer_size

    def _is_due(self) -> bool:
        failure = self._sender.failure
        if self._options.overflow == "drop_oldest" and failure is not None and failure.outcome_unknown:
            return False
        since_ms = self._buffer.waiting_since_ms()
        return (
            failure is not None
            or self._options.adaptive
            or self._is_full()
            or self._buffer.size_bytes >= MAX_BATCH_BYTES
            or (since_ms is not None and self._options.now_ms() - since_ms >= self._interval_ms)
        )

    def _logger(self) -> logging.Logger:
        return self._options.logger or logging.getLogger("agents_store_cloudflare.streams")
