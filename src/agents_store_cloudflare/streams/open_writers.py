"""The writers that one stream manager has opened, and its listeners for dropped chunks."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from agents_store_cloudflare.contract.errors import StreamError
from agents_store_cloudflare.contract.streams.records import BufferOverflowEvent
from agents_store_cloudflare.streams.batch_sender import WriterIdentity
from agents_store_cloudflare.streams.options import StreamOptions
from agents_store_cloudflare.streams.stream_client import StreamClient
from agents_store_cloudflare.streams.writer import DurableObjectStreamWriter

__all__ = ["OpenWriters"]


class OpenWriters:
    """Makes writers, and remembers the open writers until they are closed."""

    def __init__(self, client: StreamClient, options: StreamOptions) -> None:
        self._client = client
        self._options = options
        self._writers: dict[str, list[DurableObjectStreamWriter]] = {}
        self._listeners: dict[object, Callable[[BufferOverflowEvent], None]] = {}

    def make(
        self, identity: WriterIdentity, *, writer_id: str | None = None, in_a_block: bool = False
    ) -> DurableObjectStreamWriter:
        """Return a writer that is not open. `flush` does not flush it.

        Args:
            in_a_block: the request waits for a block that closes the writer, so that the writer's timer needs no `wait_until`.
        """
        options = self._options
        if in_a_block and options.wait_until is None:
            options = replace(options, wait_until=_nothing)
        return DurableObjectStreamWriter(
            identity,
            self._client,
            options,
            on_drop=lambda: self._tell_overflow(identity.stream_id),
            on_close=self._forget,
            writer_id=writer_id,
        )

    async def open(self, identity: WriterIdentity) -> DurableObjectStreamWriter:
        """Return an open writer, which `flush` flushes until it is closed."""
        writer = await self.make(identity).open()
        self._writers.setdefault(identity.stream_id, []).append(writer)
        return writer

    async def flush(self, stream_id: str) -> None:
        """Store the chunks of the open writers of a stream. The stream may refuse a writer's chunks.

        A refused writer keeps its chunks and raises at its own next call. The other writers and the caller go on.

        Raises:
            StreamError: a writer got no answer, or a crash has lost chunks that readers had seen. All writers are flushed before
                the call raises.
        """
        unknown: StreamError | None = None
        for writer in list(self._writers.get(stream_id, [])):
            try:
                await writer.flush_for_end()
            except StreamError as error:
                unknown = unknown or error
        if unknown is not None:
            raise unknown

    def on_overflow(self, listener: Callable[[BufferOverflowEvent], None]) -> Callable[[], None]:
        """Call `listener` for each chunk that a full buffer drops. Return a function that ends this."""
        registration = object()
        self._listeners[registration] = listener

        def unsubscribe() -> None:
            self._listeners.pop(registration, None)

        return unsubscribe

    def _forget(self, writer: DurableObjectStreamWriter) -> None:
        writers = self._writers.get(writer.stream_id, [])
        if writer in writers:
            writers.remove(writer)
        if not writers:
            self._writers.pop(writer.stream_id, None)

    def _tell_overflow(self, stream_id: str) -> None:
        event = BufferOverflowEvent(stream_id=stream_id, dropped_count=1, buffer_size=self._options.buffer_size)
        for listener in list(self._listeners.values()):
            try:
                listener(event)
            except Exception:
                logger = self._options.logger or logging.getLogger("agents_store_cloudflare.streams")
                logger.warning("a buffer_overflow callback failed", exc_info=True)


def _nothing(_task: Awaitable[None]) -> None:
    """Do nothing: the block keeps its request alive while the timer runs."""
