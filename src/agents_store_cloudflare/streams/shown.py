"""An adaptive writer's record of the chunks that its stream has shown and not yet stored."""

from __future__ import annotations

from collections.abc import Sequence

from agents_store_cloudflare.contract.json_values import JsonObject

__all__ = ["ShownChunks"]


class ShownChunks:
    """Knows which shown flushes a restart of the object may have lost.

    Attributes:
        doubtful: the last sequence and the number of chunks of each flush that may be lost. The object knows which of them are
            lost.
    """

    def __init__(self) -> None:
        self._instance: object = None
        self._flushes: list[tuple[int, int]] = []
        self.doubtful: list[tuple[int, int]] = []

    def __bool__(self) -> bool:
        return bool(self._flushes or self.doubtful)

    def add(self, reply: JsonObject, count: int) -> None:
        """Note that a flush of `count` chunks was shown."""
        self.hear(reply)
        last_sequence = reply["lastSequence"]
        if isinstance(last_sequence, int):
            self._flushes.append((last_sequence, count))

    def hear(self, reply: JsonObject) -> None:
        """Take note of a reply. It says which flushes are stored. After a restart of the object the other flushes are doubtful."""
        stored_sequence = reply["storedSequence"]
        if self._instance not in (None, reply["instance"]):
            self.doubtful += self._flushes
            self._flushes = []
        self._instance = reply["instance"]
        if isinstance(stored_sequence, int):
            self._flushes = [flush for flush in self._flushes if flush[0] > stored_sequence]

    def settle(self, lost: Sequence[int]) -> int:
        """Take note of the lost flushes, named by their last sequences. Return the number of chunks in them."""
        lost_count = sum(count for last_sequence, count in self.doubtful if last_sequence in lost)
        self.doubtful = []
        return lost_count
