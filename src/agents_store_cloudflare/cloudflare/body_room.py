"""Room for large request bodies. All Python objects of an isolate share its 128 MB, so together they take a few bodies at a time."""

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
    """The sum over all requests. It belongs to no request: a number that each one gives back."""

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
        """Take room for a body of this size, in the place of what this request has taken before.

        Raises:
            NoRoomError: there is none. Nobody waits for it, because no request can wake another one.
        """
        wanted = size_bytes if size_bytes > LARGE_BYTES else 0
        if wanted > self._taken_bytes and _ISOLATE.held_bytes - self._taken_bytes + wanted > ROOM_BYTES:
            raise NoRoomError
        _ISOLATE.held_bytes += wanted - self._taken_bytes
        self._taken_bytes = wanted
