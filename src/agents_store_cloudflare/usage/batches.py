"""Sends the batches of the usage store. After a failure it sends a batch again if this is safe, or raises the package's own error."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import LiteralString, cast

from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.contract.arguments import check_id, system_now_ms
from agents_store_cloudflare.contract.errors import (
    AgentsStoreError,
    InvalidArgumentError,
    StaleFencingTokenError,
    UsageError,
)
from agents_store_cloudflare.contract.json_values import JsonValue, encode_json
from agents_store_cloudflare.database import Database, Row, SqlError, SqlValue, Statement, batch_with_retry, primary_of
from agents_store_cloudflare.database.clock_sql import SELECT_NOW
from agents_store_cloudflare.usage.deletion_sql import remember_deletion
from agents_store_cloudflare.usage.sql import COMMIT_GUARD
from agents_store_cloudflare.usage.table_names import for_table

__all__ = ["UsageBatches", "fault_of"]


class UsageBatches:
    """Sends the batches of one store."""

    def __init__(
        self,
        database: object,
        table: str,
        logger: logging.Logger | None,
        now_ms: Callable[[], int] = system_now_ms,
    ) -> None:
        self._database = as_database(database)
        self._table = table
        self.logger: logging.Logger = logger or logging.getLogger("agents_store_cloudflare.usage")
        self.now_ms = now_ms

    def statement(self, text: LiteralString, *parameters: SqlValue) -> Statement:
        """Return the statement for the table of the store."""
        return Statement(for_table(text, self._table), parameters)

    async def run(self, *statements: Statement) -> list[list[Row]]:
        """Send a batch that is safe to send again: a read, or a write whose repetition changes nothing.

        Raises:
            SqlError: a guard did not hold; the error has its facts.
            UsageError: the batch failed.
        """
        return await self._sent(statements, again=True)

    async def run_on_primary(self, *statements: Statement) -> list[list[Row]]:
        """Send reads whose rows decide about a write, to the primary database. Raises as `run` does."""
        return await self._sent(statements, again=True, database=primary_of(self._database))

    async def run_once(self, *statements: Statement) -> list[list[Row]]:
        """Send a batch once, because a repetition after a lost reply would give another result."""
        return await self._sent(statements, again=False)

    async def time_before(self, span: int) -> int:
        """Return the time that lies `span` milliseconds before the present, by the database's clock. One read."""
        [[[now_ms]]] = await self.run_on_primary(self.statement(SELECT_NOW))
        return max(0, cast("int", now_ms) - span)

    async def run_deletion(
        self,
        statements: Sequence[Statement],
        *,
        commit_id: str | None,
        request: Sequence[JsonValue],
        count: LiteralString,
        of: SqlValue,
        guards: Sequence[Statement] = (),
        fences: Sequence[Statement] = (),
        token: int | None = None,
    ) -> int:
        """Send a deletion, again after a lost reply if it has a commit id.

        Args:
            statements: the deletion. The last statement returns a row for each deleted entry.
            commit_id: the caller's name for the request, or None.
            request: the name of the call and its arguments.
            count: a SELECT that counts the rows that the last statement will delete.
            of: the parameter of `count`.
            guards: the conditions of the deletion.
            fences: the statements that keep the token. They are sent for a repetition too.
            token: the fencing token, for the error.

        Returns:
            How many rows the last statement deleted; the first count when the call is a repetition.

        Raises:
            StaleFencingTokenError: a newer holder of the lock has written.
            InvalidArgumentError: the commit id belongs to another request.
            UsageError: the batch failed.
        """
        try:
            if commit_id is None:
                return len((await self.run_once(*guards, *fences, *statements))[-1])
            commit = (
                check_id(commit_id, "commit_id"),
                sha256(encode_json(list(request), name="request").encode()).hexdigest(),
            )
            known = self.statement(COMMIT_GUARD, *commit)
            remember = self.statement(remember_deletion(count), of, *commit, self.now_ms())
            return len((await self.run(known, *guards, *fences, remember, *statements))[-1])
        except SqlError as error:
            facts = error.guard or {}
            if facts["fault"] != "repeated":
                raise fault_of(error, token, commit_id) from None
        if fences:
            await self.run(*fences)
        return cast("int", facts["deleted"])

    async def _sent(
        self, statements: Sequence[Statement], *, again: bool, database: Database | None = None
    ) -> list[list[Row]]:
        try:
            if again:
                return await batch_with_retry(database or self._database, statements)
            return await self._database.batch(statements)
        except SqlError as error:
            if error.guard is not None:
                raise
            raise self._failed(error) from error

    def _failed(self, error: SqlError) -> UsageError:
        self.logger.warning("usage call failed: %s", error)
        hint = ""
        if error.is_missing_table():
            hint = "; `await store.migrate()` makes the documented tables, ensure_table makes a table of another name"
        return UsageError(
            f"the usage table {self._table!r} failed: {error}{hint}", outcome_unknown=error.outcome_unknown
        )


def fault_of(error: SqlError, token: int | None, commit_id: str | None) -> AgentsStoreError:
    """Return the error of the guard that did not hold."""
    facts = error.guard or {}
    if facts["fault"] == "fence":
        return StaleFencingTokenError(
            cast("str", facts["session_id"]), expected=cast("int", facts["token"]), actual=token or 0
        )
    return InvalidArgumentError(f"commit_id {commit_id!r} was used for another call; a commit id names one write")
