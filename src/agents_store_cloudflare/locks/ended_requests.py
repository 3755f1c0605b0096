"""The requests of callers that have stopped. If such a request arrives again, late, it must not take the key."""

from __future__ import annotations

from typing import Final

__all__ = ["EndedRequests"]

MOST_REMEMBERED: Final = 1_000


class EndedRequests:
    """The newest 1,000 ids of requests that were released or abandoned, in memory.

    No network delays a message so long that 1,000 other requests end before it arrives.
    """

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}

    def add(self, request_id: str) -> None:
        """Remember a request, and forget the oldest beyond 1,000."""
        self._ids[request_id] = None
        if len(self._ids) > MOST_REMEMBERED:
            del self._ids[next(iter(self._ids))]

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._ids
