"""The SQLite database of a Durable Object as an `ObjectSql`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Final, LiteralString, TypeVar, cast

from agents_store_cloudflare.cloudflare.raw import JsObject, called, ffi, has_long_text
from agents_store_cloudflare.cloudflare.values import crossed, message_of, rows_of
from agents_store_cloudflare.contract.errors import BindingError
from agents_store_cloudflare.database import (
    Row,
    RowCursor,
    SqlError,
    SqlValue,
)
from agents_store_cloudflare.metering.row_count import count_rows, current_row_count

__all__ = ["CloudflareSql", "T"]

T = TypeVar("T")

NO_SQLITE: Final = ("SQL is not enabled for this Durable Object", "only available for SQLite-backed Durable Objects")
"""The platform's two errors for a class that wrangler.toml lists under `new_classes` instead of `new_sqlite_classes`."""


class CloudflareSql:
    """The SQLite database of one Durable Object: `ctx.storage.sql` as an `ObjectSql`."""

    def __init__(self, storage: JsObject) -> None:
        self._storage = storage
        self._run: _Run | None = None

    def exec(self, sql: LiteralString, *parameters: SqlValue) -> list[Row]:
        try:
            cursor = self._exec(sql, parameters)
            # A write without RETURNING has no columns, so there are no rows to fetch.
            rows = rows_of(cursor.raw().toArray()) if cursor.columnNames.length else []
        except ffi().JsException as error:
            raise _sql_error(error) from error
        self._count(cursor)
        return rows

    def exec_each(self, statements: Sequence[tuple[LiteralString, Sequence[SqlValue]]]) -> list[list[Row]]:
        if current_row_count() is not None or has_long_text([each for _, given in statements for each in given]):
            return [self.exec(sql, *parameters) for sql, parameters in statements]
        calls = ffi().to_js([[sql, *crossed(parameters)] for sql, parameters in statements])
        try:
            if self._run is None:
                self._run = _Run(self._storage.sql)
            results = self._run.all(calls)
        except ffi().JsException as error:
            raise _sql_error(error) from error
        jsnull = ffi().jsnull
        return [[[None if value is jsnull else value for value in row] for row in rows] for rows in results]

    def cursor(self, sql: LiteralString, *parameters: SqlValue) -> RowCursor:
        try:
            cursor = self._exec(sql, parameters)
        except ffi().JsException as error:
            raise _sql_error(error) from error
        return _Rows(cursor)

    def long_text(self, sql: LiteralString, *parameters: SqlValue) -> str:
        from js import TextEncoder

        encoder = TextEncoder.new()
        try:
            cursor = self._exec(sql, parameters)
            [row] = cursor.raw().toArray()
        except ffi().JsException as error:
            raise _sql_error(error) from error
        self._count(cursor)
        # Bytes are copied in one step, and text is copied character by character. For 100 KB, bytes take a tenth of the time.
        return cast("str", row.map(encoder.encode.bind(encoder))[0].to_bytes().decode())

    def transaction(self, body: Callable[[], T]) -> T:
        outcome: list[T] = []
        # The result stays in Python. An exception passes through the synchronous JavaScript frame as the same object.
        self._storage.transactionSync(lambda: outcome.append(body()))
        return outcome[0]

    def _exec(self, sql: LiteralString, parameters: Sequence[SqlValue]) -> JsObject:
        place = self._storage.sql
        return called(place.exec, [sql, *crossed(parameters)], place)

    def _count(self, cursor: JsObject) -> None:
        count = current_row_count()
        if count is not None:
            count.add(read=int(cursor.rowsRead), written=int(cursor.rowsWritten))

    # The runtime keeps these keys in a hidden table of the same database. The creation of this table is free. The runtime reports
    # no rows for these calls, so they are counted here as they are billed:
    # https://developers.cloudflare.com/durable-objects/platform/pricing/.

    def get_text(self, key: str) -> str | None:
        count_rows(read=1)
        try:
            return cast("str | None", self._storage.kv.get(key))
        except ffi().JsException as error:
            raise _sql_error(error) from error

    def put_text(self, key: str, text: str) -> None:
        count_rows(written=1)
        self._storage.kv.put(key, text)

    def delete_text(self, key: str) -> None:
        if self._storage.kv.delete(key):
            count_rows(written=1)

    def list_texts(self, prefix: str, *, after: str, limit: int) -> list[tuple[str, str]]:
        from js import Array, Object
        from pyodide.ffi import to_js

        options = to_js({"prefix": prefix, "startAfter": after, "limit": limit}, dict_converter=Object.fromEntries)
        found = [(key, text) for key, text in Array.from_(self._storage.kv.list(options)).to_py()]
        count_rows(read=len(found))
        return found

    def size_bytes(self) -> int:
        return int(self._storage.sql.databaseSize)


class _Run:
    """Runs statements by JavaScript's own functions, so that Python makes the same few calls for any number of statements.

    The steps are lazy iterators: a statement runs when the rows of the one before it are read. They call their function with a value
    and its place, and the functions here ignore the place.
    """

    _shared: ClassVar[tuple[JsObject, JsObject] | None] = None
    """The functions of cursors, which are the same in every object of an isolate."""

    def __init__(self, sql: JsObject) -> None:
        execute = sql.exec
        self._exec: JsObject = execute.apply.bind(execute, sql)
        if _Run._shared is None:
            _Run._shared = _of_cursors(sql)
        self._raw, self._all = _Run._shared

    def all(self, calls: JsObject) -> list[list[list[JsObject]]]:
        """Return the rows of each call of `exec`. A call is an array: the SQL text and its parameters."""
        found: list[list[list[JsObject]]] = (
            calls.values().map(self._exec).map(self._raw).map(self._all).toArray().to_py()
        )
        return found


def _of_cursors(sql: JsObject) -> tuple[JsObject, JsObject]:
    """Return the functions that return the rows of a cursor, and an array of all rows."""
    from js import Function

    call, cursor = Function.prototype.call, sql.exec("SELECT 1")
    return call.bind(cursor.raw), call.bind(cursor.raw().toArray)


class _Rows:
    """The rows of one statement. A few rows at a time cross from JavaScript."""

    def __init__(self, cursor: JsObject) -> None:
        self._cursor = cursor
        self._rows = cursor.raw()
        self._counted = (0, 0)

    def take(self, most: int) -> list[Row]:
        try:
            arrays = self._rows.take(most).toArray()
        except ffi().JsException as error:
            raise _sql_error(error) from error
        count = current_row_count()
        if count is not None:
            counted = (int(self._cursor.rowsRead), int(self._cursor.rowsWritten))
            count.add(read=counted[0] - self._counted[0], written=counted[1] - self._counted[1])
            self._counted = counted
        return rows_of(arrays)


def _sql_error(error: Exception) -> SqlError | BindingError:
    message = message_of(error)
    if not any(words in message for words in NO_SQLITE):
        return SqlError(message)
    return BindingError(
        "the class of this Durable Object has no SQLite: list StreamServer, LockServer and (for homes) SessionServer under "
        "new_sqlite_classes in the [[migrations]] sections of the Worker's wrangler.toml; a class that no section lists gets one "
        "with a new tag, and a class that was made under new_classes cannot be converted"
    )
