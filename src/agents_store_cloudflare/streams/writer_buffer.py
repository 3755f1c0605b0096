"""The chunks a writer has taken and the stream has not stored: in order, sent in batches that keep their number.

A batch is a run of the oldest chunks with a number. While its outcome is unknown it keeps both, so that the stream
recognises it when it comes again. It may lose chunks (to an overflow): whichever of its two sendings arrives first,
nothing is stored twice.
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
"""Text beyond Latin-1 crosses at two bytes a character: a call stays below 8 MB."""


@dataclass(slots=True)
class Batch:
    """A numbered run of the oldest chunks; a call is `in_flight` while its reply is awaited."""

    number: int
    count: int
    expected_sequence: int | None = None
    in_flight: bool = False


class WriterBuffer:
    """A queue of chunks with at most one batch at its head.

    Attributes:
        size_bytes: of all chunks in it.
        taken: how many chunks were ever taken and not given back.
        done: how many of those are stored or dropped.
    """

    def __init__(self) -> None:
        self._chunks: deque[EncodedChunk] = deque()
        self._batch: Batch | None = None
        self._last_number = 0
        self.size_bytes: int = 0
        self.taken: int = 0
        self.done: int = 0

    def __len__(self) -> int:
        return len(self._chunks)

    def texts(self) -> Sequence[str]:
        """All chunks, oldest first."""
        return [chunk.text for chunk in self._chunks]

    def waiting_count(self) -> int:
        """How many chunks are not on their way at this moment."""
        return len(self._chunks) - self._in_flight_count()

    def waiting_since_ms(self) -> int | None:
        """When the oldest of those was taken."""
        oldest = next(islice(self._chunks, self._in_flight_count(), None), None)
        return None if oldest is None else oldest.taken_ms

    def take(self, chunk: EncodedChunk) -> None:
        """Add a chunk at the end."""
        self._chunks.append(chunk)
        self.size_bytes += chunk.size_bytes
        self.taken += 1

    def untake(self, chunk: EncodedChunk) -> None:
        """Give back the newest chunk, which the stream has refused."""
        if self._chunks and self._chunks[-1] is chunk:
            self.size_bytes -= self._chunks.pop().size_bytes
            self.taken -= 1

    def drop_oldest(self) -> None:
        """Lose the oldest chunk that is not on its way."""
        batch = self._batch
        if batch is not None and not batch.in_flight:
            batch.count -= 1
            if batch.count == 0:
                self._batch = None
        place = self._in_flight_count()
        self.size_bytes -= self._chunks[place].size_bytes
        del self._chunks[place]
        self.done += 1

    def next_batch(self, expected_sequence: int | None = None) -> Batch:
        """The batch whose outcome is unknown, as it was; otherwise a new one of the oldest chunks."""
        if self._batch is None:
            self._last_number += 1
            self._batch = Batch(self._last_number, self._fitting_count(), expected_sequence)
        return self._batch

    def payload(self, batch: Batch) -> str:
        """The batch's chunks as they are sent."""
        return "\n".join(chunk.text for chunk in islice(self._chunks, batch.count))

    def stored(self, batch: Batch) -> None:
        """The batch is stored."""
        for _ in range(batch.count):
            self.size_bytes -= self._chunks.popleft().size_bytes
        self.done += batch.count
        self._batch = None

    def refused(self) -> None:
        """The batch was refused; its chunks stay, its number is never used again."""
        self._batch = None

    def _in_flight_count(self) -> int:
        return self._batch.count if self._batch is not None and self._batch.in_flight else 0

    def _fitting_count(self) -> int:
        total_bytes = 0
        for count, chunk in enumerate(self._chunks):
            total_bytes += chunk.size_bytes + 1
            if total_bytes > MAX_BATCH_BYTES and count:
                return count
        return len(self._chunks)
