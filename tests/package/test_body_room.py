"""The room that an isolate has for large request bodies."""

import pytest

from agents_store_cloudflare.cloudflare.body_room import LARGE_BYTES, ROOM_BYTES, BodyRoom, NoRoomError


def _fail(size_bytes: int) -> None:
    """Take room, check that none is left, and fail."""
    with BodyRoom() as second:
        second.take(size_bytes)
        with pytest.raises(NoRoomError), BodyRoom() as third:
            third.take(LARGE_BYTES + 1)
        raise ZeroDivisionError


def test_room_is_taken_and_given_back() -> None:
    """DS-13: Two bodies of half the room fit, and a third does not. Every end of a request, a failure too, gives its room back."""
    half = ROOM_BYTES // 2
    with BodyRoom() as first:
        first.take(half)
        with pytest.raises(ZeroDivisionError):
            _fail(half)
        with BodyRoom() as third:
            third.take(half)
    with BodyRoom() as whole:
        whole.take(ROOM_BYTES)


def test_a_body_that_grows() -> None:
    """DS-13: A body of unknown length takes more room as it comes. A small body takes none, also if no room is left."""
    with BodyRoom() as growing:
        for size_bytes in range(0, ROOM_BYTES + 1, LARGE_BYTES):
            growing.take(size_bytes)
        with BodyRoom() as small:
            small.take(LARGE_BYTES)
        with pytest.raises(NoRoomError):
            growing.take(ROOM_BYTES + 1)
    with BodyRoom() as whole:
        whole.take(ROOM_BYTES)
