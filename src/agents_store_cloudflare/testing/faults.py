"""Failures on demand, at the seams: what a store does when the database or an object fails at the worst moment."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Literal, TypeAlias

from agents_store_cloudflare.database import Database, Row, SqlError, Statement
from agents_store_cloudflare.objects import ObjectCallError, ObjectNamespace

__all__ = ["FaultyDatabase", "FaultyNamespace", "Moment"]

Moment: TypeAlias = Literal["before", "after"]
"""Whether a call fails before it took effect, or after: its reply was lost."""

LOST = "D1_ERROR: Network connection lost."


class FaultyDatabase:
    """A database that fails as it is told: `fail("after")` loses the reply of the next batch.

    Attributes:
        sent: how many statements each batch had, failed ones included.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._moments: list[tuple[Moment, str]] = []
        self._broken_statement: int | None = None
        self.sent: list[int] = []

    def fail(self, *moments: Moment, message: str = LOST) -> None:
        """Fail the next batches, one for each moment."""
        self._moments.extend((moment, message) for moment in moments)

    def break_statement(self, index: int) -> None:
        """Make statement `index` of the next batch fail inside the database, which undoes the batch; beyond its end nothing fails."""
        self._broken_statement = index

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """`Database.batch`, or the failure that was ordered."""
        self.sent.append(len(statements))
        if self._broken_statement is not None:
            index, self._broken_statement = self._broken_statement, None
            broken = Statement("SELECT json_extract('{}', 'broken on demand')")
            statements = [broken if place == index else each for place, each in enumerate(statements)]
        if not self._moments:
            return await self._database.batch(statements)
        moment, message = self._moments.pop(0)
        if moment == "after":
            with suppress(SqlError):  # a refusal is a reply too, and is lost with it
                await self._database.batch(statements)
        raise SqlError(message)


class FaultyNamespace:
    """Durable Objects whose calls fail as they are told: `fail("after")` loses the reply of the next call."""

    def __init__(self, namespace: ObjectNamespace) -> None:
        self._namespace = namespace
        self._moments: list[Moment] = []

    def fail(self, *moments: Moment) -> None:
        """Fail the next calls, one for each moment."""
        self._moments.extend(moments)

    async def call(self, name: str, request: str) -> str:
        """`ObjectNamespace.call`, or the failure that was ordered."""
        if not self._moments:
            return await self._namespace.call(name, request)
        if self._moments.pop(0) == "after":
            await self._namespace.call(name, request)
        raise ObjectCallError("Network connection lost.", retryable=True)
