"""The chunks that a writer has taken and the stream has not stored: in order, sent in numbered batches.

A batch is a run of the oldest chunks. While its outcome is unknown, it keeps its chunks and its number, so that the stream
recognises a repetition. An overflow may remove chunks from it: the stream stores the version that arrives first, and stores nothing
twice. A chunk with an expected sequence is a batch of its own, and keeps its expectation until it is stored.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from agents_store_cloudflare.streams.chunks import EncodedChunk

__all__ = ["MAX_BATCH_BYTES", "Batch", "WriterBuffer"]

MAX_BATCH_BYTES: Final = 4_000_000
"""The most bytes of one call. Text beyond Latin-1 crosses at two bytes a character, so a call stays below 8 MB."""


@dataclass(slots=True)
class Batch:
    """A numbered run of the oldest chunks. It is `in_flight` while its writer waits for the reply."""

    number: int
    count: int
    expected_sequence: int | None = None
    in_flight: bool = False


class WriterBuffer:
    """A queue of chunks with at most one batch at its head.

    Attributes:
        size_bytes: the size of all its chunks.
        last_place: the place of the newest chunk.
    """

    def __init__(self) -> None:
        self._queue: deque[EncodedChunk] = deque()
        self._batch: Batch | None = None
        self._last_number = 0
        self.size_bytes: int = 0
        self.last_place: int = 0

    def __len__(self) -> int:
        return len(self._queue)

    def texts(self) -> Sequence[str]:
        """Return all chunks, oldest first."""
        return [taken.text for taken in self._queue]

    def waiting_count(self) -> int:
        """Return the number of chunks that are not on their way at this moment."""
        return len(self._queue) if self._batch is None else len(self._queue) - self._in_flight_count()

    def waiting_since_ms(self) -> int | None:
        """Return the time at which the oldest waiting chunk was taken; None if no chunk waits."""
        if self._batch is None:
            return self._queue[0].taken_ms if self._queue else None
        oldest = next(islice(self._queue, self._in_flight_count(), None), None)
        return None if oldest is None else oldest.taken_ms

    def took_at_rest(self, chunk: EncodedChunk, most: int, since_ms: int) -> bool:
        """Take a chunk if no batch is out, fewer than `most` chunks wait, each taken after `since_ms`. Return whether it was taken."""
        queue = self._queue
        if (
            self._batch is not None
            or len(queue) >= most
            or self.size_bytes >= MAX_BATCH_BYTES // 2
            or (queue and queue[0].taken_ms <= since_ms)
        ):
            return False
        self.take(chunk)
        return True

    def has_up_to(self, place: int) -> bool:
        """Return whether the buffer still holds a chunk at `place` or before."""
        return bool(self._queue) and self._queue[0].place <= place

    def take(self, chunk: EncodedChunk, expected_sequence: int | None = None) -> None:
        """Add a chunk at the end."""
        self.last_place += 1
        chunk.place = self.last_place
        chunk.expected_sequence = expected_sequence
        self._queue.append(chunk)
        self.size_bytes += chunk.size_bytes

    def untake(self, chunk: EncodedChunk) -> None:
        """Remove the newest chunk. A chunk in a batch stays, because its outcome is unknown."""
        has_left = self._batch is not None and self._batch.count == len(self._queue)
        if self._queue and self._queue[-1] is chunk and not has_left:
            self._remove(len(self._queue) - 1)

    def drop_oldest(self) -> None:
        """Drop the oldest chunk that is not on its way."""
        batch = self._batch
        if batch is not None and not batch.in_flight:
            batch.count -= 1
            if batch.count == 0:
                self._batch = None
        self._remove(self._in_flight_count())

    def next_batch(self, last_place: int) -> Batch:
        """Return the batch whose outcome is unknown. If there is none, return a new batch of the oldest chunks up to `last_place`."""
        if self._batch is None:
            self._last_number += 1
            self._batch = Batch(self._last_number, self._fitting_count(last_place), self._queue[0].expected_sequence)
        return self._batch

    def ends_at(self, batch: Batch, place: int) -> bool:
        """Whether no chunk up to `place` comes after the batch."""
        after = next(islice(self._queue, batch.count, None), None)
        return after is None or after.place > place

    def payload(self, batch: Batch) -> str:
        """Return the batch's chunks as they are sent."""
        return "\n".join([taken.text for taken in islice(self._queue, batch.count)])

    def stored(self, batch: Batch) -> None:
        """Remove the chunks of a batch that was stored."""
        for _ in range(batch.count):
            self.size_bytes -= self._queue.popleft().size_bytes
        self._batch = None

    def refused(self) -> None:
        """Dissolve the batch after a refusal. Its chunks stay. Its number is never used again."""
        self._batch = None

    def discard_refused(self, most_bytes: int) -> None:
        """Drop the chunks that were refused for good: the oldest chunk if it expects a sequence, and all chunks over `most_bytes`."""
        if self._batch is not None:
            return  # another call has sent the batch again, and its outcome counts
        if self._queue and self._queue[0].expected_sequence is not None:
            self._remove(0)
        for index in reversed(range(len(self._queue))):
            if self._queue[index].size_bytes > most_bytes:
                self._remove(index)

    def _remove(self, index: int) -> None:
        self.size_bytes -= self._queue[index].size_bytes
        del self._queue[index]

    def _in_flight_count(self) -> int:
        return self._batch.count if self._batch is not None and self._batch.in_flight else 0

    def _fitting_count(self, last_place: int) -> int:
        if self._queue[0].expected_sequence is not None:
            return 1
        total_bytes = 0
        for count, taken in enumerate(self._queue):
            total_bytes += taken.size_bytes + 1
            ends = taken.place > last_place or taken.expected_sequence is not None or total_bytes > MAX_BATCH_BYTES
            if count and ends:
                return count
        return len(self._queue)
