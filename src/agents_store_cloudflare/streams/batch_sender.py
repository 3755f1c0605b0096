"""Sends a writer's chunks to its stream: one call per batch, in order. Each batch is stored once."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from agents_store_cloudflare.contract.errors import (
    AgentsStoreError,
    SequenceConflictError,
    StreamChunkTooLargeError,
    StreamError,
)
from agents_store_cloudflare.contract.json_values import JsonObject, JsonValue
from agents_store_cloudflare.streams.blocks import MAX_CHUNK_BYTES
from agents_store_cloudflare.streams.options import StreamOptions
from agents_store_cloudflare.streams.shown import ShownChunks
from agents_store_cloudflare.streams.stream_client import StreamClient
from agents_store_cloudflare.streams.writer_buffer import Batch, WriterBuffer

__all__ = ["BatchSender", "WriterIdentity"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterIdentity:
    """The stream, the agent that writes to it, and the fencing token of its lock."""

    stream_id: str
    agent_id: str
    agent_type: str
    fencing_token: int | None


class BatchSender:
    """Sends the chunks of one writer's buffer to its stream, and remembers the outcome of the last call.

    Attributes:
        fencing_token: goes with each call.
        failure: the error of the last call. None if the call succeeded, or if the error concerned one chunk alone and was raised.
        last_attempt_ms: when the last call ended; 0 before the first one.
        last_sequence: the last sequence that the stream has confirmed.
    """

    def __init__(
        self,
        identity: WriterIdentity,
        writer_id: str,
        buffer: WriterBuffer,
        client: StreamClient,
        options: StreamOptions,
    ) -> None:
        self.stream_id: str = identity.stream_id
        self.fencing_token: int | None = identity.fencing_token
        self._writer_id = writer_id
        self.buffer: WriterBuffer = buffer
        self._client = client
        self._options = options
        self._shown = ShownChunks()
        self.sending: asyncio.Lock = asyncio.Lock()
        self.failure: AgentsStoreError | None = None
        self.last_attempt_ms: int = 0
        self.last_sequence: int = 0

    async def flush(self, *, is_durable: bool = True) -> None:
        """Store all chunks taken up to now. The caller gets the error, so a chunk that was refused for good leaves the buffer."""
        with self.heard():
            await self.store_taken(is_durable=is_durable)

    async def make_durable(self) -> None:
        """Store the chunks that the stream has shown and not stored.

        Raises:
            StreamError: restarts of the object have lost some of them.
        """
        if self._shown:
            reply = await self._client.call(self.stream_id, "store", {})
            self._shown.hear(reply.head["ok"])
        if self._shown.doubtful:
            sequences: list[JsonValue] = [last_sequence for last_sequence, _ in self._shown.doubtful]
            reply = await self._client.call(self.stream_id, "lost", {"sequences": sequences})
            lost_count = self._shown.settle(reply.head["ok"])
            if not lost_count:
                return
            raise StreamError(
                f"{lost_count} chunks of stream {self.stream_id!r} were shown and lost: its object restarted before they "
                "were stored; write them again where they matter"
            )

    @contextmanager
    def heard(self) -> Generator[None, None, None]:
        """Run a flush whose error goes to a caller: a chunk that was refused for good leaves the buffer.

        Nobody gets the error of a flush in the background, so it leaves the chunk for the next call. No chunk is lost without an
        error.
        """
        try:
            yield
        except AgentsStoreError as error:
            if not error.outcome_unknown:
                self.buffer.discard_refused(
                    error.limit_bytes if isinstance(error, StreamChunkTooLargeError) else MAX_CHUNK_BYTES
                )
            if isinstance(error, SequenceConflictError | StreamChunkTooLargeError):
                self.failure = None  # it says nothing about the next chunk
            raise

    async def store_taken(self, *, is_durable: bool = True) -> None:
        """Store the chunks taken up to now, and none taken later. Of two calls at once the second waits for the first.

        Args:
            is_durable: store them before this returns. Otherwise the stream shows them now and stores them within the loss window.
        """
        last_place = self.buffer.last_place
        async with self.sending:
            while self.buffer.has_up_to(last_place):
                await self.send_batch(self.buffer.next_batch(last_place), is_durable=is_durable)

    def arguments(self, batch: Batch) -> JsonObject:
        """Return the arguments of the call that stores a batch."""
        return {
            "writer": self._writer_id,
            "writerSequence": batch.number,
            "expectedSequence": batch.expected_sequence,
            "fencingToken": self.fencing_token,
        }

    async def send_batch(self, batch: Batch, *, is_durable: bool) -> None:
        """Store one batch with a call of its own."""
        arguments = self.arguments(batch)
        if not is_durable:
            arguments["lossWindowMs"] = self._options.whole_loss_window_ms()
        batch.in_flight = True
        try:
            reply = await self._client.call(self.stream_id, "append", arguments, self.buffer.payload(batch))
        except Exception as error:
            self.failure = self._failure_of(error)
            if not self.failure.outcome_unknown:
                self.buffer.refused()
            raise
        finally:
            batch.in_flight = False
            self.last_attempt_ms = self._options.now_ms()
        self.buffer.stored(batch)
        self.failure = None
        stored = reply.head["ok"]
        self.last_sequence = stored["lastSequence"]
        if is_durable:
            self._shown.hear(stored)
        else:
            self._shown.add(stored, batch.count)

    def _failure_of(self, error: Exception) -> AgentsStoreError:
        """Return the error as the writer remembers it. Of an error that is not the package's own, the outcome is unknown."""
        if isinstance(error, AgentsStoreError):
            return error
        return StreamError(
            f"a flush of stream {self.stream_id!r} failed: {type(error).__name__}, see its log", outcome_unknown=True
        )
