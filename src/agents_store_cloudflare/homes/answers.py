"""The replies with the rows of a batch. They come page by page, because a reply of over 32 MiB fails."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from agents_store_cloudflare.database import Row, RowCursor

__all__ = ["PAGE_CHARACTERS", "Answer", "Place"]

PAGE_CHARACTERS: Final = 8_000_000
"""The most characters of a page. A character has at most four bytes."""

FIRST_ROWS: Final = 4
MOST_ROWS: Final = 64

Place: TypeAlias = "tuple[int, int]"
"""A place in a result: a statement of the batch, and the number of its rows that the Worker has."""

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(slots=True)
class Answer:
    """The rows of one reply: a line for each statement, and the place of the next page if rows are left.

    `keeps_rows` is False if a look after the writes has found no row to keep.
    """

    room: int = field(default_factory=lambda: PAGE_CHARACTERS)
    lines: list[str] = field(default_factory=list[str])
    next_place: Place | None = None
    keeps_rows: bool = True

    def add(self, results: Sequence[Sequence[Row]]) -> None:
        """Add all rows of statements with few rows. The reader takes a comma between two results as the end of a line."""
        text = _encode(results)[1:-1]
        self.room -= len(text)
        self.lines.append(text)

    def add_from(self, statement: int, skipped: int, cursor: RowCursor) -> None:
        """Add rows of a statement while there is room, and return them. A page has at least one row.

        Args:
            skipped: the number of rows of the statement that the Worker has.
        """
        texts: list[str] = []
        wanted = FIRST_ROWS
        while rows := cursor.take(wanted):
            added = [_encode(row) for row in rows]
            texts += added
            size = sum(map(len, added))
            self.room -= size
            if self.room <= 0:
                self.next_place = (statement, skipped + len(texts))
                break
            if len(rows) < wanted:
                break
            wanted = max(1, min(MOST_ROWS, self.room * len(rows) // max(size, 1)))
        self.lines.append(f"[{','.join(texts)}]")

    def text(self) -> str:
        """Return the payload of the reply."""
        return "\n".join(self.lines)
