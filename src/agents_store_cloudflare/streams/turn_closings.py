"""The rule for the chunk that closes a turn. It takes a stream's head and does no I/O. The log stores the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agents_store_cloudflare.contract.arguments import MAX_SAFE_INTEGER
from agents_store_cloudflare.streams.head import ClosedTurn, StreamHead

__all__ = [
    "CLOSING_NUMBER",
    "REMEMBERED_TURNS",
    "TurnClosing",
    "closed_at",
    "is_settled_without_a_chunk",
    "with_closed",
]

CLOSING_NUMBER: Final = MAX_SAFE_INTEGER
"""The number of the flush that carries the closing chunk. It is the last number of a writer: no flush can follow it."""

REMEMBERED_TURNS: Final = 32
"""The number of closed turns that a stream remembers. The oldest one is forgotten first."""

REMEMBERED_CHARS: Final = 4_000
"""The ids of these turns and writers have at most this number of characters, the newest turn aside."""


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


def with_closed(turns: Sequence[ClosedTurn], closing: TurnClosing, sequence: int) -> tuple[ClosedTurn, ...]:
    """Return the closed turns that the stream remembers after this closing chunk."""
    kept: list[ClosedTurn] = [(closing.turn_id, sequence, closing.writer)]
    total_chars = 0
    for turn in reversed(turns[-REMEMBERED_TURNS + 1 :]):
        total_chars += len(turn[0]) + len(turn[2])
        if total_chars > REMEMBERED_CHARS:
            break
        kept.append(turn)
    return tuple(reversed(kept))


def closed_at(head: StreamHead, turn_id: str, attempt: str | None) -> int | None:
    """Return the sequence of the newest remembered closing chunk of a turn.

    With `attempt`, the id of a writer, only this attempt counts.
    """
    for closed_id, sequence, writer in reversed(head.closed_turns):
        if closed_id == turn_id and attempt in (None, writer):
            return sequence
    return None


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
