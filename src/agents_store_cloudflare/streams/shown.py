"""What an adaptive writer's stream has shown and not yet stored, as far as the writer knows."""

from __future__ import annotations

from agents_store_cloudflare.contract.json_values import JsonObject

__all__ = ["ShownChunks"]


class ShownChunks:
    """Counts the chunks that a restart of the object has lost.

    Attributes:
        lost_count: those whose loss nobody has been told of.
    """

    def __init__(self) -> None:
        self._instance: object = None
        self._flushes: list[tuple[int, int]] = []
        self.lost_count: int = 0

    def __len__(self) -> int:
        return sum(count for _, count in self._flushes)

    def add(self, reply: JsonObject, count: int) -> None:
        """A flush of `count` chunks was shown."""
        self._hear(reply)
        last_sequence = reply["lastSequence"]
        if isinstance(last_sequence, int):
            self._flushes.append((last_sequence, count))

    def stored(self, reply: JsonObject) -> None:
        """Everything that has survived up to now is stored."""
        self._hear(reply)
        self._flushes = []

    def take_lost_count(self) -> int:
        """How many were lost since it was last asked."""
        count, self.lost_count = self.lost_count, 0
        return count

    def _hear(self, reply: JsonObject) -> None:
        survived_sequence = reply["survivedSequence"]
        if self._instance not in (None, reply["instance"]) and isinstance(survived_sequence, int):
            self.lost_count += sum(count for last, count in self._flushes if last > survived_sequence)
            self._flushes = []
        self._instance = reply["instance"]
