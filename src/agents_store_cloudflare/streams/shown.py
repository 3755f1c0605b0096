"""The chunks that an adaptive writer's stream has shown and not yet stored, as far as the writer knows."""

from __future__ import annotations

from collections.abc import Sequence

from agents_store_cloudflare.contract.json_values import JsonObject

__all__ = ["ShownChunks"]


class ShownChunks:
    """Knows which shown flushes a restart of the object may have lost.

    Attributes:
        doubtful: last sequence and number of chunks of each such flush. The object can tell which of them are lost.
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
        """Take note of a reply: what is stored by now is safe, unless another instance of the object says so."""
        stored_sequence = reply["storedSequence"]
        if self._instance not in (None, reply["instance"]):
            self.doubtful += self._flushes
            self._flushes = []
        self._instance = reply["instance"]
        if isinstance(stored_sequence, int):
            self._flushes = [flush for flush in self._flushes if flush[0] > stored_sequence]

    def settle(self, lost: Sequence[int]) -> int:
        """Take note of the flushes that are lost, by their last sequences; the number of chunks in them."""
        lost_count = sum(count for last_sequence, count in self.doubtful if last_sequence in lost)
        self.doubtful = []
        return lost_count
