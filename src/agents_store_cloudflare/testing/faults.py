"""Failures on demand. With them a test sees the behaviour of a store when the database or an object fails at the worst moment."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Literal, TypeAlias

from agents_store_cloudflare.database import Database, Row, SqlError, Statement
from agents_store_cloudflare.objects import ObjectCallError, ObjectNamespace

__all__ = ["FaultyDatabase", "FaultyNamespace", "Moment"]

Moment: TypeAlias = Literal["before", "after"]
"""The moment at which a call fails: before its effect, or after it, so that its reply is lost."""

LOST = "D1_ERROR: Network connection lost."
_BROKEN = Statement("SELECT json_extract('{}', 'broken on demand')")


class FaultyDatabase:
    """A database that fails when a test asks for it: `fail("after")` loses the reply of the next batch.

    Attributes:
        sent: the number of statements of each batch, failed batches included.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._moments: list[tuple[Moment, str]] = []
        self._broken: tuple[int, Moment] | None = None
        self._untroubled = 0
        self.sent: list[int] = []

    def fail(self, *moments: Moment, message: str = LOST) -> None:
        """Fail the next batches, one for each moment."""
        self._moments.extend((moment, message) for moment in moments)

    def leave_alone(self, batches: int) -> None:
        """Let this number of batches pass before the failures begin."""
        self._untroubled = batches

    def break_statement(self, index: int, moment: Moment = "before") -> None:
        """Make the next batch fail inside the database, before or after the effect of statement `index`.

        The database undoes the batch.

        If the batch has fewer statements, nothing fails.
        """
        self._broken = (index, moment)

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run the statements as one transaction, or fail as the test has asked."""
        self.sent.append(len(statements))
        if self._untroubled:
            self._untroubled -= 1
            return await self._database.batch(statements)
        if self._broken is not None:
            (index, moment), self._broken = self._broken, None
            if index < len(statements):
                place = index + (moment == "after")
                statements = [*statements[:place], _BROKEN, *statements[place:]]
        if not self._moments:
            return await self._database.batch(statements)
        moment, message = self._moments.pop(0)
        if moment == "after":
            with suppress(SqlError):  # a refusal is a reply, which can be lost too
                await self._database.batch(statements)
        raise SqlError(message)


class FaultyNamespace:
    """Durable Objects whose calls fail when a test asks for it: `fail("after")` loses the reply of the next call."""

    def __init__(self, namespace: ObjectNamespace) -> None:
        self._namespace = namespace
        self._moments: list[Moment] = []

    def fail(self, *moments: Moment) -> None:
        """Fail the next calls, one for each moment."""
        self._moments.extend(moments)

    async def call(self, name: str, request: str) -> str:
        """Send one text to the object and return its reply, or fail as ordered."""
        if not self._moments:
            return await self._namespace.call(name, request)
        if self._moments.pop(0) == "after":
            await self._namespace.call(name, request)
        raise ObjectCallError("Network connection lost.", retryable=True)
