"""Chunks that were shown before they are stored: the end of the log, in memory. What a crash loses is in here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Flush", "Tail", "merged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flush:
    """What one append brought: `count` chunks from `first_sequence` on, joined; `writer` and `number` name it."""

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
        size_bytes: of all of them.
    """

    def __init__(self) -> None:
        self._flushes: list[Flush] = []
        self.size_bytes: int = 0

    def __len__(self) -> int:
        return len(self._flushes)

    def flushes(self) -> Sequence[Flush]:
        """All of them, oldest first."""
        return tuple(self._flushes)

    def begins_at(self, sequence: int) -> bool:
        """Whether it holds the chunk of this number."""
        return bool(self._flushes) and sequence >= self._flushes[0].first_sequence

    def add(self, flush: Flush) -> None:
        """Hold one more."""
        self._flushes.append(flush)
        self.size_bytes += flush.size_bytes

    def after(self, sequence: int) -> tuple[int, str]:
        """How many chunks follow `sequence`, which is not before the tail, and their texts joined."""
        kept = [flush for flush in self._flushes if flush.last_sequence > sequence]
        body = "\n".join(flush.body for flush in kept)
        skipped = sequence + 1 - kept[0].first_sequence
        count = sum(flush.count for flush in kept) - skipped
        return count, body.split("\n", skipped)[-1] if skipped else body

    def clear(self) -> None:
        """Everything is stored, or gone."""
        self._flushes = []
        self.size_bytes = 0


def merged(flushes: Iterable[Flush]) -> list[tuple[Flush, str]]:
    """Runs of one writer, each with its last flush and all its texts: one row each, not one for every flush."""
    runs: list[list[Flush]] = []
    for flush in flushes:
        if runs and runs[-1][-1].writer == flush.writer:
            runs[-1].append(flush)
        else:
            runs.append([flush])
    return [(run[-1], "\n".join(flush.body for flush in run)) for run in runs]
