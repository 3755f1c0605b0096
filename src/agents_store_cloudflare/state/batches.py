"""How the state store's batches go: sent again where that is safe, and every failure as the package's own error."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import cast

from agents_store_cloudflare.contract.errors import D1StateError
from agents_store_cloudflare.database import Database, Row, SqlError, Statement, batch_with_retry
from agents_store_cloudflare.state.guard import Commit, Guard

__all__ = ["StateBatches"]


class StateBatches:
    """The batches of one store: reads, guarded writes, deletions."""

    def __init__(self, database: Database, logger: logging.Logger) -> None:
        self._database = database
        self._logger = logger

    async def write(self, guard: Guard, statements: Sequence[Statement]) -> tuple[Commit, list[list[Row]]]:
        """Guard, fence and statements as one batch. The first statement returns the commit; no results where it is an earlier one's.

        Safe to send again after a lost reply: the guard recognises the commit id.
        """
        first, results = await self.guarded(guard, statements)
        if first is not None:
            return first, []
        return Commit.from_text(cast("str", results[0][0][0])), results

    async def guarded(self, guard: Guard, statements: Sequence[Statement]) -> tuple[Commit | None, list[list[Row]]]:
        """As `write`, for statements of which none may return a commit: what was done before, or the statements' results."""
        guards = guard.statements()
        try:
            results = await batch_with_retry(self._database, [*guards, *statements])
        except SqlError as error:
            if error.guard is None:
                raise self._failed(guard.operation, guard.session_id, error, guard.commit_id) from error
            commit = guard.replay(error.guard)
            if commit is None:
                raise guard.fault(error.guard) from None
            return commit, []
        return None, results[len(guards) :]

    async def read(self, statements: Sequence[Statement]) -> list[list[Row]]:
        try:
            return await batch_with_retry(self._database, statements)
        except SqlError as error:
            raise self._failed("read", cast("str", statements[0].parameters[0]), error) from error

    async def repeatable(self, operation: str, session_id: str, statements: Sequence[Statement]) -> list[list[Row]]:
        """Statements of which doing them twice does what doing them once does."""
        try:
            return await batch_with_retry(self._database, statements)
        except SqlError as error:
            raise self._failed(operation, session_id, error) from error

    async def delete(
        self, what: str, statements: Sequence[Statement], guard: Guard | None = None
    ) -> tuple[list[Row], list[Row]]:
        """Rows of the last statement, and of the first after the guard's.

        Not sent again by itself: a repetition after a lost reply could not tell whether there was anything to delete.
        """
        try:
            results = await self._database.batch(statements)
        except SqlError as error:
            if guard is not None and error.guard is not None:
                raise guard.fault(error.guard) from None
            raise self._failed("delete", what, error) from error
        return results[-1], results[len(guard.statements()) if guard is not None else 0]

    def _failed(self, operation: str, session_id: str, error: SqlError, commit_id: str | None = None) -> D1StateError:
        self._logger.warning("%s of session %r failed: %s", operation, session_id, error)
        hint = "; run_migration makes the tables" if error.is_missing_table() else ""
        return D1StateError(
            f"{operation} of session {session_id!r} failed: {error}{hint}",
            outcome_unknown=error.outcome_unknown and operation != "read",
            commit_id=commit_id,
        )
