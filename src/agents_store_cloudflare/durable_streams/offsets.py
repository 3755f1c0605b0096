"""Offsets as the protocol writes them: opaque to clients, sorting as text like the positions they stand for.

The first field is the sequence of the last message that the client has, the position of the native readers; the second
one is 0. So a position serves on both faces of a stream.
"""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

from agents_store_cloudflare.contract.errors import InvalidArgumentError

__all__ = ["Position", "offset_of", "parse_offset"]

Position: TypeAlias = "int | Literal['start', 'now']"

_OFFSET: Final = re.compile(r"([0-9]{16})_0{16}", re.ASCII)
_PAST_ALL: Final = "9999999999999999_9999999999999999"


def offset_of(sequence: int) -> str:
    """The offset after the message of this sequence."""
    return f"{sequence:016d}_{0:016d}"


def parse_offset(text: str, *, name: str = "offset") -> Position:
    """The position of an offset; `-1` is the start of the stream, `now` its end.

    Raises:
        InvalidArgumentError: no server has given this one.
    """
    if text == "-1":
        return "start"
    if text == "now":
        return "now"
    found = _OFFSET.fullmatch(text)
    if found is None and text != _PAST_ALL:
        raise InvalidArgumentError(
            f"{name} is not an offset of this server; use one from Stream-Next-Offset, -1 or now"
        )
    return int(text[:16])
