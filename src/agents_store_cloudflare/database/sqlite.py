"""The two SQL seams on the standard library's sqlite3, with the limits of the platform.

This module changes and refuses the same values as D1 and Durable Objects: at most 100 parameters, no value above 2,000,000 bytes,
numbers become doubles, and whole doubles become integers when they are read. SQL that runs here runs there.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import LiteralString, TypeVar, cast

from agents_store_cloudflare.contract.arguments import MAX_SAFE_INTEGER
from agents_store_cloudflare.database import (
    MAX_VALUE_BYTES,
    Database,
    ObjectSql,
    Row,
    RowCursor,
    SqlError,
    SqlValue,
    Statement,
)

__all__ = ["SqliteDatabase", "SqliteObjectSql"]

T = TypeVar("T")

DAY_MS = 86_400_000
EPOCH_DAY = 2_440_587.5
"""The first day of 1970, as `julianday` counts days."""

# https://developers.cloudflare.com/d1/platform/limits/ and workerd's sqlite.c++
_LIMITS = {
    sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER: 100,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 5,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 100_000,
    sqlite3.SQLITE_LIMIT_COLUMN: 100,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 50,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 10,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
}


class _Connection:
    """A sqlite3 connection that takes and returns values as the platform does."""

    def __init__(self, path: str | Path, *, read_only: bool = False, now_ms: Callable[[], int] | None = None) -> None:
        # A file name may hold characters with a meaning in a URI; as_uri quotes them.
        name = f"{Path(path).resolve().as_uri()}?mode=ro" if read_only else path
        # The garbage collector may close it in any thread.
        self._connection = sqlite3.connect(name, isolation_level=None, uri=read_only, check_same_thread=False)
        # `__del__` would be too late: in a reference cycle the connection could end first, and warn that nobody closed it.
        self._close = weakref.finalize(self, self._connection.close)
        # As in JavaScript, bytes that are no UTF-8 become U+FFFD. An escape such as \ud800 in JSON of other programs makes such bytes.
        self._connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        self._connection.execute("PRAGMA foreign_keys = ON")
        if now_ms is not None:

            def julianday(_: str) -> float:
                return now_ms() / DAY_MS + EPOCH_DAY

            self._connection.create_function("julianday", 1, julianday)
        for category, limit in _LIMITS.items():
            self._connection.setlimit(category, limit)

    def run(self, sql: str, parameters: Sequence[SqlValue] = ()) -> list[Row]:
        with _failures():
            rows = self._connection.execute(sql, [_bound(value) for value in parameters]).fetchall()
        return [[_read(value) for value in row] for row in rows]

    def undo(self, *statements: str) -> None:
        """Roll back. On some errors, such as a full disk, SQLite has ended the transaction itself."""
        for sql in statements if self._connection.in_transaction else ():
            self.run(sql)

    def cursor(self, sql: str, parameters: Sequence[SqlValue]) -> _Rows:
        with _failures():
            return _Rows(self._connection.execute(sql, [_bound(value) for value in parameters]))

    def close(self) -> None:
        self._close()


class _Rows(RowCursor):
    """The rows of a cursor."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor

    def take(self, most: int) -> list[Row]:
        with _failures():
            rows = self._cursor.fetchmany(most)
        return [[_read(value) for value in row] for row in rows]


@contextmanager
def _failures() -> Generator[None, None, None]:
    """Turn failures of sqlite3 into `SqlError` with the platform's text."""
    try:
        yield
    except (sqlite3.Error, sqlite3.Warning) as error:
        name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
        raise SqlError(f"{error}: {name.rsplit('_', 1)[0]} (extended: {name})") from error


def _bound(value: SqlValue) -> str | float | None:
    match value:
        case None:
            return None
        case str():
            if (size_bytes := len(value.encode())) > MAX_VALUE_BYTES:
                raise SqlError(f"string or blob too big: {size_bytes:,} bytes: SQLITE_TOOBIG")
            return value
        case bool() | int() | float():
            if abs(value) > MAX_SAFE_INTEGER:
                raise SqlError(f"{value} would change on its way through JavaScript; pass it as text: SQLITE_MISMATCH")
            return float(value)
    raise SqlError(f"a {type(value).__name__} cannot be a parameter: SQLITE_MISMATCH")


def _read(value: SqlValue) -> SqlValue:
    return int(value) if isinstance(value, float) and value.is_integer() else value


class SqliteDatabase(Database):
    """A D1 database in this process, in memory or in a file. Tests of state and usage need nothing else.

    Several threads, each with its own event loop, may share it: their batches run one after the other.

    Args:
        path: the file; in memory by default.
        read_only: open an existing file, which another program may write at the same time. A statement that writes raises `SqlError`.
        now_ms: the database's clock, such as that of a `FakeClock`; the machine's by default. It decides when reservations and sessions
            expire.

    Attributes:
        batches: how many batches were sent. Tests count round trips with it.
    """

    def __init__(
        self, path: str | Path = ":memory:", *, read_only: bool = False, now_ms: Callable[[], int] | None = None
    ) -> None:
        self._connection = _Connection(path, read_only=read_only, now_ms=now_ms)
        self._one_batch = threading.Lock()
        self._begin = "BEGIN" if read_only else "BEGIN IMMEDIATE"
        self.batches: int = 0

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        await asyncio.sleep(0)  # a batch is a round trip, so other tasks may run meanwhile
        if not statements:
            raise SqlError("No SQL statements detected.")
        # There is no await inside, so a thread that waits here never waits for its own loop.
        with self._one_batch:
            self.batches += 1
            self._connection.run(self._begin)
            try:
                results = [self._connection.run(statement.sql, statement.parameters) for statement in statements]
                self._connection.run("COMMIT")
            except BaseException:
                self._connection.undo("ROLLBACK")
                raise
        return results

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


class SqliteObjectSql(ObjectSql):
    """The SQLite database of a Durable Object in this process."""

    def __init__(self, path: str | Path = ":memory:") -> None:
        self._connection = _Connection(path)
        self._depth = 0

    def exec(self, sql: LiteralString, *parameters: SqlValue) -> list[Row]:
        return self._connection.run(sql, parameters)

    def exec_each(self, statements: Sequence[tuple[LiteralString, Sequence[SqlValue]]]) -> list[list[Row]]:
        return [self.exec(sql, *parameters) for sql, parameters in statements]

    def cursor(self, sql: LiteralString, *parameters: SqlValue) -> RowCursor:
        return self._connection.cursor(sql, parameters)

    def long_text(self, sql: LiteralString, *parameters: SqlValue) -> str:
        [[text]] = self._connection.run(sql, parameters)
        return cast("str", text)

    def transaction(self, body: Callable[[], T]) -> T:
        # A transaction inside another one is a savepoint.
        name = f"level_{self._depth}"
        self._connection.run(f"SAVEPOINT {name}")
        self._depth += 1
        try:
            result = body()
            self._connection.run(f"RELEASE {name}")
        except BaseException:
            self._connection.undo(f"ROLLBACK TO {name}", f"RELEASE {name}")
            raise
        finally:
            self._depth -= 1
        return result

    def get_text(self, key: str) -> str | None:
        rows = self._texts("SELECT value FROM _cf_KV WHERE key = ?1", key)
        return cast("str", rows[0][0]) if rows else None

    def put_text(self, key: str, text: str) -> None:
        self._connection.run("CREATE TABLE IF NOT EXISTS _cf_KV (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID")
        self._connection.run(
            "INSERT INTO _cf_KV VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, text)
        )

    def delete_text(self, key: str) -> None:
        self._texts("DELETE FROM _cf_KV WHERE key = ?1", key)

    def list_texts(self, prefix: str, *, after: str, limit: int) -> list[tuple[str, str]]:
        rows = self._texts(
            "SELECT key, value FROM _cf_KV WHERE key > ?1 AND substr(key, 1, length(?2)) = ?2 ORDER BY key LIMIT ?3",
            after,
            prefix,
            limit,
        )
        return [(cast("str", key), cast("str", text)) for key, text in rows]

    def _texts(self, sql: str, *parameters: SqlValue) -> list[Row]:
        try:
            return self._connection.run(sql, parameters)
        except SqlError as error:
            if error.is_missing_table():
                return []
            raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def size_bytes(self) -> int:
        [[pages]], [[page]] = self.exec("PRAGMA page_count"), self.exec("PRAGMA page_size")
        return cast("int", pages) * cast("int", page)
