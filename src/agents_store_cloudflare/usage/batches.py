"""How the usage store's batches go: sent again where that is safe, and every failure as the package's own error."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import LiteralString

from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.contract.arguments import system_now_ms
from agents_store_cloudflare.contract.errors import UsageError
from agents_store_cloudflare.database import Row, SqlError, SqlValue, Statement, batch_with_retry
from agents_store_cloudflare.usage.tables import for_table

__all__ = ["UsageBatches"]


class UsageBatches:
    """The batches of one store."""

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
        """The statement for the store's table."""
        return Statement(for_table(text, self._table), parameters)

    async def run(self, *statements: Statement) -> list[list[Row]]:
        """A batch that is safe to send again: a read, or a write whose repetition changes nothing.

        Raises:
            SqlError: a guard did not hold; its facts are there.
            UsageError: it failed.
        """
        return await self._sent(statements, again=True)

    async def run_once(self, *statements: Statement) -> list[list[Row]]:
        """A batch that is not sent again by itself: a repetition after a lost reply could not tell what there was."""
        return await self._sent(statements, again=False)

    async def _sent(self, statements: Sequence[Statement], *, again: bool) -> list[list[Row]]:
        try:
            if again:
                return await batch_with_retry(self._database, statements)
            return await self._database.batch(statements)
        except SqlError as error:
            if error.guard is not None:
                raise
            raise self._failed(error) from error

    def _failed(self, error: SqlError) -> UsageError:
        self.logger.warning("usage call failed: %s", error)
        hint = ""
        if error.is_missing_table():
            hint = "; run_migration makes the tables, ensure_table one of another name"
        return UsageError(
            f"the usage table {self._table!r} failed: {error}{hint}", outcome_unknown=error.outcome_unknown
        )
