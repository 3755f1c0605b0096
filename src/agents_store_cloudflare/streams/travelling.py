"""The last chunks of a writer as a part of a larger call, such as the commit of a turn in its home."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from agents_store_cloudflare.contract.errors import AgentsStoreError
from agents_store_cloudflare.streams.batch_sender import BatchSender
from agents_store_cloudflare.streams.stream_client import reply_of, request_text
from agents_store_cloudflare.streams.writer_buffer import Batch

__all__ = ["Travelling", "travelling"]


class Travelling:
    """A batch of chunks as a `Companion`.

    Attributes:
        last_sequence: the sequence of the last chunk. It is right unless others write to the stream at the same time.
    """

    def __init__(self, sender: BatchSender, batch: Batch) -> None:
        self._sender = sender
        self._batch = batch
        self._is_stored = False
        self.last_sequence: int = sender.last_sequence + batch.count

    def request(self) -> str:
        sender, self._batch.in_flight = self._sender, True
        return request_text(
            sender.stream_id, "append", sender.arguments(self._batch), sender.buffer.payload(self._batch)
        )

    def hear(self, reply: str) -> None:
        if self._is_stored:
            return
        sender = self._sender
        with sender.heard():
            try:
                stored = reply_of(sender.stream_id, reply).head["ok"]
            except AgentsStoreError as error:
                sender.failure = error
                sender.buffer.refused()
                raise
        sender.buffer.stored(self._batch)
        sender.failure = None
        sender.last_sequence = stored["lastSequence"]
        self._is_stored = True

    def settle(self) -> None:
        self._batch.in_flight = False


@asynccontextmanager
async def travelling(sender: BatchSender) -> AsyncGenerator[Travelling | None, None]:
    """Give the block the last batch of the chunks that were taken up to now. The batches before it are stored first.

    Raises:
        AgentsStoreError: an earlier batch was refused, or got no reply.
    """
    last_place = sender.buffer.last_place
    async with sender.sending:
        last = None
        with sender.heard():
            while last is None and sender.buffer.has_up_to(last_place):
                batch = sender.buffer.next_batch(last_place)
                if sender.buffer.ends_at(batch, last_place):
                    last = batch
                else:
                    await sender.send_batch(batch, is_durable=True)
        yield None if last is None else Travelling(sender, last)
