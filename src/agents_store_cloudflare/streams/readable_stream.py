"""The reads of a stream. A read returns pages of chunks or facts about them, and changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from agents_store_cloudflare.contract.errors import SequenceConflictError, StreamTruncatedError
from agents_store_cloudflare.streams.head import Flushes, StreamHead
from agents_store_cloudflare.streams.stored_stream import StoredStream

__all__ = ["Page", "ReadableStream"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Chunks in order: `count` JSON texts joined by newlines. The first chunk has the sequence `first_sequence`."""

    first_sequence: int
    count: int
    body: str

    @property
    def last_sequence(self) -> int:
        return self.first_sequence + self.count - 1


class ReadableStream(StoredStream):
    """The stored stream with its reads."""

    def head_from(self, from_sequence: int) -> StreamHead:
        """Return the stream's head, for a reader who has everything up to `from_sequence`.

        Raises:
            StreamNotFoundError: the stream does not exist.
            SequenceConflictError: the position is above the last sequence.
        """
        head = self.existing_head()
        if from_sequence > head.last_sequence:
            raise SequenceConflictError(self.stream_id, expected=from_sequence, actual=head.last_sequence)
        return head

    def writer_count(self) -> int:
        """Return the number of writers whose chunks are kept."""
        head = self.head()
        return self._known_flushes().writer_count(head.first_sequence) if head else 0

    def chunk_count(self) -> int:
        """Return the number of chunks that are kept."""
        head = self.head()
        if head is None or not head.has_gaps:
            return 0 if head is None else head.last_sequence - head.first_sequence + 1
        held = sum(flush.count for flush in self._tail.flushes())
        return held + self._rows.chunk_count(head.first_sequence)

    def stored_sequence(self) -> int:
        """Return the last sequence that a crash cannot lose; 0 if there is no stream."""
        head = self.head()
        if head is None:
            return 0
        first_held = self._tail.first_sequence()
        return head.last_sequence if first_held is None else first_held - 1

    def is_lost(self, sequence: int) -> bool:
        """Return whether a crash has lost this chunk after it was shown. A chunk that somebody truncated or reset is not lost.

        Raises:
            StreamNotFoundError: there is no stream.
        """
        head = self.existing_head()
        if not head.has_gaps or not head.first_sequence <= sequence <= head.last_sequence:
            return False
        return not self._tail.begins_at(sequence) and self._rows.last_sequence_from(sequence) < sequence

    def newest_flushes(self) -> Flushes:
        """Return each writer's newest flush. Later calls return the same mapping until a change is undone."""
        return self._known_flushes().newest()

    def read(self, from_sequence: int, *, max_bytes: int) -> Page:
        """Return the chunks after `from_sequence`: whole blocks of about `max_bytes` together, and at least one block if there are
        chunks.

        When a crash has lost the next numbers, the page begins after them.

        Raises:
            StreamNotFoundError: the stream does not exist.
            SequenceConflictError: `from_sequence` is above the last sequence.
            StreamTruncatedError: the chunk after `from_sequence` is no longer kept.
        """
        head = self.head_from(from_sequence)
        if from_sequence < head.first_sequence - 1:
            raise StreamTruncatedError(self.stream_id, from_sequence=from_sequence, first_sequence=head.first_sequence)
        wanted = from_sequence + 1
        if from_sequence == head.last_sequence:
            return Page(first_sequence=wanted, count=0, body="")
        if self._tail.begins_at(wanted):
            count, held = self._tail.after(from_sequence)
            return Page(first_sequence=wanted, count=count, body=held)
        first_key, last_key, last_sequence = self._rows.page(wanted, max_bytes)
        if last_sequence < wanted:
            return self._read_after_gap(head, wanted, max_bytes)
        body = self._rows.bodies(first_key, last_key)
        # The position may lie inside the first block.
        kept = body.split("\n", wanted - first_key)[-1] if wanted > first_key else body
        return Page(first_sequence=wanted, count=last_sequence - from_sequence, body=kept)

    def _read_after_gap(self, head: StreamHead, wanted: int, max_bytes: int) -> Page:
        next_key = self._rows.next_key(wanted)
        if next_key is not None:
            return self.read(next_key - 1, max_bytes=max_bytes)
        first_held = self._tail.first_sequence()
        if first_held is not None:
            return self.read(first_held - 1, max_bytes=max_bytes)
        return Page(first_sequence=head.last_sequence + 1, count=0, body="")
