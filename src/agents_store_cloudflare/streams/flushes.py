"""The flushes that a stream has stored. A repeated flush is recognised and not stored again."""

from __future__ import annotations

from typing import cast

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.database import ObjectSql
from agents_store_cloudflare.streams import sql as q
from agents_store_cloudflare.streams.head import Flushes

__all__ = ["KnownFlushes"]


class KnownFlushes:
    """Each writer's newest flush. It is read from the blocks once in an object's life, then kept in memory.

    Args:
        forgotten: the flushes whose chunks are no longer kept.
    """

    def __init__(self, sql: ObjectSql, forgotten: Flushes) -> None:
        self._sql = sql
        rows = cast("list[tuple[str, int, int]]", sql.exec(q.SELECT_WRITERS))
        stored = {writer: (number, last_sequence) for writer, number, last_sequence in rows}
        self._newest: dict[str, tuple[int, int]] = {**forgotten, **stored}

    def newest(self) -> Flushes:
        """Return each writer's newest flush."""
        return self._newest

    def note(self, writer: str, number: int, last_sequence: int) -> None:
        """Note that a flush was stored."""
        self._newest[writer] = (number, last_sequence)

    def forget(self, first_sequence: int, forgotten: Flushes) -> None:
        """Forget the flushes before `first_sequence` that are not among the forgotten ones, as a restart does."""
        self._newest = {
            writer: newest
            for writer, newest in self._newest.items()
            if newest[1] >= first_sequence or writer in forgotten
        }

    def writer_count(self, first_sequence: int) -> int:
        """Return the number of writers with chunks from `first_sequence` on."""
        return sum(last_sequence >= first_sequence for _, last_sequence in self._newest.values())

    def result_of(self, writer: str, number: int) -> int | None:
        """Return the last sequence of a flush that was stored; None for a new flush.

        Raises:
            InvalidArgumentError: the flush was not stored, but a later flush of the same writer was.
        """
        newest, last_sequence = self._newest.get(writer, (0, 0))
        if number > newest:
            return None
        if number == newest:
            return last_sequence
        stored = cast("int | None", self._sql.exec(q.SELECT_FLUSH, writer, number)[0][0])
        if stored is None:
            raise InvalidArgumentError(f"flush {number} comes after flush {newest} of the same writer")
        return stored
