"""The end of the log in memory: the chunks that are shown and not yet stored. A crash loses them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Flush", "Tail", "merged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flush:
    """The chunks of one append: `count` texts from `first_sequence` on, joined. `writer` and `number` name the flush."""

    first_sequence: int
    count: int
    size_bytes: int
    body: str
    writer: str
    number: int

    @property
    def last_sequence(self) -> int:
        return self.first_sequence + self.count - 1


class Tail:
    """Flushes in order, without gaps.

    Attributes:
        size_bytes: the size of all flushes together.
    """

    def __init__(self) -> None:
        self._flushes: list[Flush] = []
        self.size_bytes: int = 0

    def __len__(self) -> int:
        return len(self._flushes)

    def flushes(self) -> Sequence[Flush]:
        """Return all flushes, oldest first."""
        return tuple(self._flushes)

    def first_sequence(self) -> int | None:
        """Return the sequence of the tail's first chunk; None if the tail is empty."""
        return self._flushes[0].first_sequence if self._flushes else None

    def begins_at(self, sequence: int) -> bool:
        """Return whether the tail holds the chunk of this sequence."""
        return bool(self._flushes) and sequence >= self._flushes[0].first_sequence

    def add(self, flush: Flush) -> None:
        """Add a flush at the end."""
        self._flushes.append(flush)
        self.size_bytes += flush.size_bytes

    def after(self, sequence: int) -> tuple[int, str]:
        """Return the number of chunks after `sequence` and their joined texts. `sequence` must lie in the tail."""
        kept = [flush for flush in self._flushes if flush.last_sequence > sequence]
        body = "\n".join(flush.body for flush in kept)
        skipped = sequence + 1 - kept[0].first_sequence
        count = sum(flush.count for flush in kept) - skipped
        return count, body.split("\n", skipped)[-1] if skipped else body

    def clear(self) -> None:
        """Forget all flushes, because they are stored or dropped."""
        self._flushes = []
        self.size_bytes = 0


def merged(flushes: Iterable[Flush]) -> list[tuple[Flush, str]]:
    """Merge consecutive flushes of one writer: each result is their last flush with all their texts, and becomes one row."""
    runs: list[list[Flush]] = []
    for flush in flushes:
        if runs and runs[-1][-1].writer == flush.writer:
            runs[-1].append(flush)
        else:
            runs.append([flush])
    return [(run[-1], "\n".join(flush.body for flush in run)) for run in runs]
