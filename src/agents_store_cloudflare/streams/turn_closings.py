"""The rule for the chunk that closes a turn. It takes a stream's head and does no I/O. The log stores the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agents_store_cloudflare.contract.arguments import MAX_SAFE_INTEGER
from agents_store_cloudflare.streams.head import StreamHead

__all__ = ["CLOSING_NUMBER", "TurnClosing", "is_settled_without_a_chunk"]

CLOSING_NUMBER: Final = MAX_SAFE_INTEGER
"""The number of the flush that carries the closing chunk. It is the last number of a writer: no flush can follow it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnClosing:
    """A closing chunk that a stream must still get.

    Attributes:
        turn_id: the id of the turn that the chunk closes.
        writer: the turn's own writer.
        incarnation: the life of the stream that the turn wrote to; None if the turn's Worker died before it knew the life.
        pauses: pause the stream after the chunk.
    """

    turn_id: str
    writer: str
    incarnation: str | None
    pauses: bool = False


def is_settled_without_a_chunk(head: StreamHead | None, closing: TurnClosing, last_written: int | None) -> bool:
    """Return whether the stream was ended, failed, reset or deleted since the turn wrote to it. Then no chunk follows.

    Args:
        last_written: the sequence of the turn's last chunk, or None if it stored none.
    """
    if head is None or head.is_closed:
        return True
    if closing.incarnation is not None:
        return closing.incarnation != head.incarnation
    # A turn without a stored chunk gets its closing chunk in any life of the stream, because readers may be waiting for its end.
    return last_written is not None and last_written <= head.begun_after
