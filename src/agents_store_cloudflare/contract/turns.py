"""The records of turns."""

from __future__ import annotations

from dataclasses import dataclass

from agents_store_cloudflare.contract.record import Record

__all__ = ["SweptTurns"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweptTurns(Record):
    """The result of `sweep_turns`.

    Attributes:
        closed: sessions whose dead turn was marked `interrupted`.
        told: how many closing chunks were published. Chunks that were published before count too.
        held: how many sessions were left alone, because somebody holds their lock.
    """

    closed: tuple[str, ...] = ()
    told: int = 0
    held: int = 0
