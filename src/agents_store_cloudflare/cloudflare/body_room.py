"""Room for large request bodies.

All Python objects of an isolate share its 128 MB, so an isolate takes only a few large bodies at a time.
"""

from __future__ import annotations

from typing import Final, Self

__all__ = ["LARGE_BYTES", "ROOM_BYTES", "BodyRoom", "NoRoomError"]

LARGE_BYTES: Final = 1024 * 1024
"""A body up to this size is not counted."""

ROOM_BYTES: Final = 32 * 1024 * 1024
"""The bytes of all large bodies that the requests of an isolate hold at once."""


class NoRoomError(Exception):
    """Other requests hold as many large bodies as the isolate takes."""


class _Isolate:
    """The bytes that all requests of the isolate hold. It is only a number, so no object of a request is kept."""

    def __init__(self) -> None:
        self.held_bytes = 0


_ISOLATE: Final = _Isolate()


class BodyRoom:
    """The room that one request takes for its body, given back at the end of the block."""

    def __init__(self) -> None:
        self._taken_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        _ISOLATE.held_bytes -= self._taken_bytes
        self._taken_bytes = 0

    def take(self, size_bytes: int) -> None:
        """Take room for a body of this size. It replaces the room that this request has taken before.

        Raises:
            NoRoomError: there is no room. The call does not wait for room, because no request can wake another request.
        """
        wanted = size_bytes if size_bytes > LARGE_BYTES else 0
        if wanted > self._taken_bytes and _ISOLATE.held_bytes - self._taken_bytes + wanted > ROOM_BYTES:
            raise NoRoomError
        _ISOLATE.held_bytes += wanted - self._taken_bytes
        self._taken_bytes = wanted
