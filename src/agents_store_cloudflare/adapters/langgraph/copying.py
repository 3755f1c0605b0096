"""Stores a text as a copy of a part of another line that holds it already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from agents_store_cloudflare.adapters.langgraph.known import Range

__all__ = ["Copy", "found_copy"]

PROBE: Final = 32
LEAST_SAVED: Final = 60


class Copy(NamedTuple):
    """`before`, then the characters `begin` … `end` - 1 of a line, then `after`."""

    line: Range
    begin: int
    end: int
    before: str
    after: str

    def text(self, line: str) -> str:
        """Return the copied text."""
        return f"{self.before}{line[self.begin : self.end]}{self.after}"


def found_copy(text: str, lines: Mapping[str, Range]) -> Copy | None:
    """Return the text as a copy of a part of one of the lines, or None if that would not save most of it."""
    best: Copy | None = None
    for at in (len(text) // 2, len(text) // 4, len(text) * 3 // 4):
        probe = text[at : at + PROBE]
        for line, where in lines.items():
            place = line.find(probe) if len(probe) == PROBE else -1
            if place >= 0:
                made = _widened(text, at, line, place, where)
                if best is None or made.end - made.begin > best.end - best.begin:
                    best = made
        if best is not None:
            break
    return best if best is not None and best.end - best.begin > max(LEAST_SAVED, len(text) // 2) else None


def _widened(text: str, at: int, line: str, place: int, where: Range) -> Copy:
    before = 0
    while before < min(at, place) and text[at - before - 1] == line[place - before - 1]:
        before += 1
    after = PROBE
    most = min(len(text) - at, len(line) - place)
    while after < most and text[at + after] == line[place + after]:
        after += 1
    return Copy(where, place - before, place + after, text[: at - before], text[at + after :])
