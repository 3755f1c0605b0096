"""Sends the batches of the state store: again after a failure when that is safe. A failure is raised as the package's own error."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, cast

from agents_store_cloudflare.contract.errors import D1StateError, StateSizeExceededError
from agents_store_cloudflare.database import Database, Homes, Row, SqlError, Statement, batch_with_retry, primary_of
from agents_store_cloudflare.state.commit_sql import FIRST_COMMIT
from agents_store_cloudflare.state.guard import Commit, Facts, Guard

__all__ = ["StateBatches", "has_writes"]

MAX_DATABASE_BYTES: Final = 10_000_000_000
"""https://developers.cloudflare.com/d1/platform/limits/; the same for a Durable Object."""


_WRITES = re.compile(r"^\s*(INSERT|UPDATE|DELETE)\b", re.MULTILINE)


@lru_cache(maxsize=1_000)
def _is_write(sql: str) -> bool:
    return _WRITES.search(sql) is not None


def has_writes(statements: Sequence[Statement]) -> bool:
    """Return whether a batch may change rows. A read replica cannot answer such a batch."""
    return any([_is_write(each.sql) for each in statements])  # noqa: C419 - a list is faster than a generator


class StateBatches:
    """Sends the reads and the guarded writes of one store, each to the database where its session lives."""

    def __init__(self, homes: Homes, logger: logging.Logger) -> None:
        self.homes: Homes = homes
        self._logger = logger

    async def write(
        self, guard: Guard, statements: Sequence[Statement], database: Database | None = None
    ) -> tuple[Commit, list[list[Row]]]:
        """Send guard, fence and statements as one batch; the first statement returns the commit.

        It is safe to send again after a lost reply: the guard recognises the commit id.

        Returns:
            The commit and the rows of the statements. A repetition gives the first commit and no rows.
        """
        first, results = await self.guarded(guard, statements, database)
        if first is not None:
            return first, []
        return Commit.from_text(cast("str", results[0][0][0])), results

    async def guarded(
        self, guard: Guard, statements: Sequence[Statement], database: Database | None = None
    ) -> tuple[Commit | None, list[list[Row]]]:
        """Send guard, fence and statements as one batch. The first row of the statements need not be a commit.

        Args:
            database: a database that sends the batch together with other calls. None means the session's own database.

        Returns:
            None and the rows of the statements. A repetition gives the first commit and no rows.
        """
        guards = guard.statements()
        whole = [*guards, *statements]
        place = database or (self.homes.of_new if guard.version == 0 else self.homes.of)(guard.session_id)
        if not has_writes(whole):
            place = primary_of(place)  # otherwise a replica would decide about the write
        try:
            results = await batch_with_retry(place, whole)
        except SqlError as error:
            if error.guard is None:
                raise self._failed(guard.operation, guard.session_id, error, guard.commit_id) from error
            if error.guard["fault"] == "replay":
                return await self._replayed(guard, error.guard), []
            raise guard.fault(error.guard) from None
        return None, results[len(guards) :]

    async def _replayed(self, guard: Guard, facts: Facts) -> Commit:
        """Return the first commit of a repetition. The repetition's token raises the fence too.

        Raises:
            InvalidArgumentError: the commit id belongs to another request.
        """
        text, past = facts.get("first_commit"), facts.get("past")
        if text is None or past is None:
            [rows] = await self.read([Statement(FIRST_COMMIT, (guard.session_id, guard.commit_id))])
            if not rows:
                raise D1StateError(
                    f"{guard.operation} of session {guard.session_id!r} took place, but its result is forgotten",
                    commit_id=guard.commit_id,
                )
            text, past = rows[0]
        first = guard.first(cast("str", text), past=bool(past))
        await self.raise_fence(guard, known=facts.get("token") or 0)
        return first

    async def raise_fence(self, guard: Guard, *, known: int = 0) -> None:
        """Keep the token of a call that has nothing to write.

        Args:
            guard: the guard of the call.
            known: the highest token that is kept already. Nothing is sent when it is as high.
        """
        if guard.token is not None and guard.token > known:
            await self.repeatable(guard.operation, guard.session_id, guard.fence())

    async def show(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Send the reads of a call that shows the caller what is stored. A read replica may answer, if the store has a bookmark.

        The first parameter of the first statement is the session id.
        """
        return await self._read(self.homes.of(cast("str", statements[0].parameters[0])), statements)

    async def read(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Send reads whose rows decide about a write, to the primary database. The first parameter is as in `show`."""
        return await self._read(primary_of(self.homes.of(cast("str", statements[0].parameters[0]))), statements)

    async def _read(self, database: Database, statements: Sequence[Statement]) -> list[list[Row]]:
        session_id = cast("str", statements[0].parameters[0])
        try:
            return await batch_with_retry(database, statements)
        except SqlError as error:
            raise self._failed("read", session_id, error) from error

    async def decide(self, operation: str, session_id: str, statements: Sequence[Statement]) -> list[list[Row]]:
        """Send reads of another call than `read`, to the primary database."""
        try:
            return await batch_with_retry(primary_of(self.homes.of(session_id)), statements)
        except SqlError as error:
            raise self._failed(operation, session_id, error) from error

    async def repeatable(self, operation: str, session_id: str, statements: Sequence[Statement]) -> list[list[Row]]:
        """Send statements whose second run changes nothing."""
        try:
            return await batch_with_retry(self.homes.of(session_id), statements)
        except SqlError as error:
            raise self._failed(operation, session_id, error) from error

    async def once(self, operation: str, session_id: str, statements: Sequence[Statement]) -> list[list[Row]]:
        """Send statements once, because a second run would give another result."""
        try:
            return await self.homes.of(session_id).batch(statements)
        except SqlError as error:
            raise self._failed(operation, session_id, error) from error

    def _failed(self, operation: str, session_id: str, error: SqlError, commit_id: str | None = None) -> D1StateError:
        self._logger.warning("%s of session %r failed: %s", operation, session_id, error)
        if error.is_full:
            return StateSizeExceededError(operation, session_id, MAX_DATABASE_BYTES, MAX_DATABASE_BYTES, is_full=True)
        hint = "; `await store.migrate()` or `run_migration(db)` makes the tables" if error.is_missing_table() else ""
        return D1StateError(
            f"{operation} of session {session_id!r} failed: {error}{hint}",
            outcome_unknown=error.outcome_unknown and operation != "read",
            commit_id=commit_id,
        )
