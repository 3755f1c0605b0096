"""The protocol's offsets. They are opaque to clients. The order of their texts is the order of their positions.

The first field is the sequence of the last message that the client has, which is also the position of native readers. The second
field is 1 for the start of a stream whose path an earlier stream has used, and 0 otherwise. Without it, this start and the end of
the earlier stream would have the same offset.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from agents_store_cloudflare.contract.errors import InvalidArgumentError

__all__ = ["Offset", "Position", "offset_of", "parse_offset"]


@dataclass(frozen=True, slots=True)
class Offset:
    """A place in a stream.

    Attributes:
        sequence: the sequence of the last message that the client has.
        is_start: True for the start of a stream at a path that was used before.
    """

    sequence: int
    is_start: bool = False


Position: TypeAlias = "Offset | Literal['start', 'now']"

_OFFSET: Final = re.compile(r"([0-9]{16})_0{15}([01])", re.ASCII)
_PAST_ALL: Final = "9999999999999999_9999999999999999"


def offset_of(sequence: int, *, is_start: bool = False) -> str:
    """Return the offset after the message of this sequence."""
    return f"{sequence:016d}_{int(is_start):016d}"


def parse_offset(text: str, *, name: str = "offset") -> Position:
    """Return the position of an offset. `-1` is the start of the stream, `now` its end.

    Raises:
        InvalidArgumentError: no server of this package has given this offset.
    """
    if text == "-1":
        return "start"
    if text == "now":
        return "now"
    found = _OFFSET.fullmatch(text)
    if (found is None and text != _PAST_ALL) or text == offset_of(0, is_start=True):
        raise InvalidArgumentError(
            f"{name} is not an offset of this server; use one from Stream-Next-Offset, -1 or now"
        )
    return Offset(int(text[:16]), is_start=found is not None and found[2] == "1")
