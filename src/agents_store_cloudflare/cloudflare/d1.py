"""D1 as a `Database`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from agents_store_cloudflare.cloudflare.raw import JsObject, called, ffi, not_a_binding, raw_binding
from agents_store_cloudflare.cloudflare.values import crossed, message_of, rows_of
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.database import (
    BatchCost,
    BatchObserver,
    Database,
    DatabaseSession,
    Row,
    SqlError,
    SqlValue,
    Statement,
    compact_sql,
)

__all__ = ["D1Database", "as_database"]


def as_database(binding: object, *, observer: BatchObserver | None = None) -> Database:
    """Return the `Database` of a D1 binding or session, raw or SDK-wrapped. A `Database` is returned as it is.

    Raises:
        TypeError: the argument is neither, or the binding is missing.
    """
    if isinstance(binding, D1Database):
        return binding  # unwrapping its `_binding` would lose the observer
    raw = raw_binding(binding)
    if hasattr(raw, "prepare"):
        return D1Database(raw, observer=observer)
    if hasattr(binding, "batch"):
        return cast("Database", binding)
    raise TypeError(not_a_binding("D1 database", "d1_databases", binding))


class D1Database:
    """A D1 binding or a read-replica session as a `Database`."""

    def __init__(self, binding: JsObject, *, observer: BatchObserver | None = None) -> None:
        self._binding = binding
        self._observer = observer

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run the statements in one round trip and one transaction, and return the rows of each."""
        if self._observer is not None:
            rows, _cost = await self.measured_batch(statements)
            return rows
        return _all_rows(await self._send(statements))

    async def measured_batch(self, statements: Sequence[Statement]) -> tuple[list[list[Row]], BatchCost]:
        """Return the rows of `batch`, and its cost. The cost takes one more read of each statement's result."""
        results = await self._send(statements)
        cost = _cost(results)
        if self._observer is not None:
            self._observer(cost)
        return _all_rows(results), cost

    async def _send(self, statements: Sequence[Statement]) -> JsObject:
        platform, prepare = ffi(), self._binding.prepare
        prepared = [_bind(prepare(compact_sql(each.sql)), each.parameters) for each in statements]
        try:
            return await self._binding.batch(platform.to_js(prepared))
        except platform.JsException as error:
            raise SqlError(message_of(error)) from error

    def session(self, bookmark: str) -> DatabaseSession:
        """Return a session of the database that sees at least what `bookmark` has seen.

        Raises:
            InvalidArgumentError: the binding is a session itself.
        """
        if not hasattr(self._binding, "withSession"):
            raise InvalidArgumentError("bookmark= needs the D1 binding itself, and got a session of it")
        return _D1Session(self._binding.withSession(bookmark), observer=self._observer)


class _D1Session(D1Database):
    """A session of a D1 database."""

    @property
    def bookmark(self) -> str | None:
        """The point that the session has seen; None before its first batch."""
        found = self._binding.getBookmark()
        return found if isinstance(found, str) else None


def _all_rows(results: JsObject) -> list[list[Row]]:
    from js import Object

    # Rows arrive as objects. JavaScript maps them to arrays, which are converted in one step. Most writes return no rows.
    found = [result.results for result in results]
    return [rows_of(rows.map(Object.values)) if rows.length else [] for rows in found]


def _bind(statement: JsObject, parameters: Sequence[SqlValue]) -> JsObject:
    return called(statement.bind, crossed(parameters), statement) if parameters else statement


def _cost(results: JsObject) -> BatchCost:
    metas = [result.meta for result in results]
    return BatchCost(
        statements=len(metas),
        rows_read=sum(int(meta.rows_read) for meta in metas),
        rows_written=sum(int(meta.rows_written) for meta in metas),
    )
