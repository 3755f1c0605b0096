"""The names of a stream's forks, in a table of the stream's own object."""

from __future__ import annotations

from typing import Final, cast

from agents_store_cloudflare.contract.json_values import JsonValue
from agents_store_cloudflare.database import ObjectSql, SqlError
from agents_store_cloudflare.durable_streams import sql as q
from agents_store_cloudflare.durable_streams.incoming import IDLE_MS

__all__ = ["ForkNames"]

FEW: Final = 20
"""Up to this number of names, a living source does not look for forks that are gone."""


class ForkNames:
    """The names of the forks of this stream. The table is made with the first name.

    A name stays until its fork is known to be gone. So the table holds one row for each living fork. A fork may expire without a
    message to its source. `some` lists its name for a check.
    """

    def __init__(self, sql: ObjectSql) -> None:
        self._sql = sql
        self._looked_at = ""

    def add(self, fork_id: str, *, now_ms: int) -> None:
        """Note a fork. A repetition does nothing."""
        self._sql.exec(q.CREATE_FORKS)
        self._sql.exec(q.INSERT_FORK, fork_id, now_ms)

    def remove(self, fork_id: str) -> None:
        """Forget a fork. An unknown name changes nothing."""
        if self.are_there():
            self._sql.exec(q.DELETE_FORK, fork_id)

    def are_there(self) -> bool:
        """Return whether there are any names."""
        return self._count(1) > 0

    def some(self, most: int, *, now_ms: int) -> list[JsonValue]:
        """Return a few names. The next call returns the next names, so that every name has its turn.

        Returns:
            Pairs: a name, and whether the copy of that fork may still be running.
        """
        if not self.are_there():
            return []
        rows = cast("list[tuple[str, int]]", self._sql.exec(q.SELECT_FORKS_AFTER, self._looked_at, most))
        if not rows:
            rows = cast("list[tuple[str, int]]", self._sql.exec(q.SELECT_FORKS_AFTER, "", most))
        self._looked_at = rows[-1][0]
        return [[fork_id, now_ms - noted_at < IDLE_MS] for fork_id, noted_at in rows]

    def some_of_many(self, most: int, *, now_ms: int) -> list[JsonValue]:
        """Return the result of `some`, but no names while there are only a few."""
        return self.some(most, now_ms=now_ms) if self._count(FEW + 1) > FEW else []

    def _count(self, most: int) -> int:
        try:
            [[count]] = cast("list[list[int]]", self._sql.exec(q.SELECT_FORK_COUNT, most))
        except SqlError as error:
            if error.is_missing_table():
                return 0
            raise
        return count
