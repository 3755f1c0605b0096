"""A D1 database with read replicas that are behind, in this process."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from agents_store_cloudflare.database import Database, DatabaseSession, Row, Statement
from agents_store_cloudflare.database.sqlite import SqliteDatabase

__all__ = ["LaggingDatabase"]

_WRITES: Final = re.compile(
    r"\s*(?:WITH\b.*?\)\s*)?(INSERT|UPDATE|DELETE|REPLACE|CREATE|DROP|ALTER)\b", re.IGNORECASE | re.DOTALL
)


class LaggingDatabase(Database):
    """A database whose replicas are `lag` writes behind, for tests of code that uses `bookmark=`.

    A batch of the database itself, and every batch that writes, goes to the primary. A session's reads go to a replica, which is
    exactly `lag` writes behind, or fewer if the session has seen more.

    Example:
        >>> db = LaggingDatabase(lag=3)
        >>> store = create_cloudflare_store(db=db, streams=..., bookmark="first-unconstrained")

    Args:
        lag: the writes that replicas are behind. Tests may change it.

    Attributes:
        replica_reads: how many batches a replica has answered.
    """

    def __init__(self, lag: int = 3) -> None:
        self.lag: int = lag
        self.replica_reads: int = 0
        self._floor = 0
        self._primary = SqliteDatabase()
        self._writes: list[tuple[Statement, ...]] = []
        self._replicas: dict[int, SqliteDatabase] = {}

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run the statements in the primary."""
        results = await self._primary.batch(statements)
        if any(_WRITES.match(each.sql) for each in statements):
            self._writes.append(tuple(statements))
        return results

    def session(self, bookmark: str) -> DatabaseSession:
        """Return a session, as `DatabaseSession` says. Its bookmarks look like D1's."""
        if bookmark == "first-unconstrained":
            return _Session(self, seen=0)
        if bookmark == "first-primary":
            return _Session(self, seen=None)
        return _Session(self, seen=int(bookmark.split("-")[1], 16))

    def catch_up(self) -> None:
        """Let the replicas see everything up to now, e.g. the migrations."""
        self._floor = self.position

    @property
    def reached(self) -> int:
        """The number of writes that the replicas have seen."""
        return max(self._floor, self.position - self.lag)

    @property
    def position(self) -> int:
        """The number of batches that have written."""
        return len(self._writes)

    async def read_at(self, position: int, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run reads in a replica that has seen `position` writes."""
        self.replica_reads += 1
        reached = max((each for each in self._replicas if each <= position), default=0)
        replica = self._replicas.pop(reached, None) or SqliteDatabase()
        for writes in self._writes[reached:position]:
            await replica.batch(writes)
        self._replicas[position] = replica
        return await replica.batch(statements)


class _Session:
    """One session. `seen` is the position that it has seen, or None before its first batch if it begins at the primary."""

    def __init__(self, database: LaggingDatabase, *, seen: int | None) -> None:
        self._database = database
        self._seen = seen
        self._has_begun = False

    @property
    def bookmark(self) -> str | None:
        return f"00000000-{self._seen or 0:08x}-00000000-{0:032x}" if self._has_begun else None

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        database = self._database
        self._has_begun = True
        if self._seen is None or any(_WRITES.match(each.sql) for each in statements):
            try:
                return await database.batch(statements)
            finally:
                self._seen = database.position
        self._seen = max(self._seen, database.reached)
        return await database.read_at(self._seen, statements)
