"""Shows views also when another program has damaged rows. Only the unreadable values are missing in the view.

A view reads through the stores. When that fails, its rows are copied into a database in memory. There neutral values replace the
unreadable ones, each of them is named, and the view reads from this copy.
"""

from __future__ import annotations

import io
import json as json_format
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import closing, redirect_stdout
from dataclasses import dataclass
from typing import Any, Final, LiteralString, TypeAlias, cast

from agents_store_cloudflare.command.opening import OpenDatabase
from agents_store_cloudflare.command.row_rules import Column, columns_by_table, faults_of, neutral_value
from agents_store_cloudflare.command.text import json_text, printable
from agents_store_cloudflare.contract.errors import AgentsStoreError
from agents_store_cloudflare.database import SqlError, SqlValue, Statement, batch_with_retry
from agents_store_cloudflare.database.sqlite import SqliteDatabase
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.state.blocks import SEPARATOR
from agents_store_cloudflare.state.numbering import MAX_MESSAGES
from agents_store_cloudflare.transfer.tables import HIDDEN, StoredRow, columns_of, insert, rows_of

__all__ = ["Rows", "Shown", "View", "rows_of_session", "rows_of_tables", "selected", "show"]

Rows: TypeAlias = "AsyncIterator[tuple[LiteralString, StoredRow]]"
"""Table -> its rows."""

_FAILURES: Final = (
    AgentsStoreError, SqlError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError
)  # fmt: skip
_BLOCKS: Final = "__agents_message_blocks"
_UNREADABLE_MESSAGE: Final = '{"role":"(unreadable)"}'

# ?1 session id -> the blocks of its messages. Primary key.
_SELECT_BLOCKS: LiteralString = """
    SELECT b.id, b.count, b.body
    FROM __agents_states AS s
    JOIN __agents_message_blocks AS b ON b.id BETWEEN s.session_no * ?2 AND s.session_no * ?2 + ?2 - 1
    WHERE s.session_id = ?1
    ORDER BY b.id
"""


@dataclass(frozen=True, slots=True)
class Shown:
    """The result of a view, for people and for programs."""

    text: str
    body: Mapping[str, Any]

    @classmethod
    def of(cls, body: Mapping[str, Any], print_it: Callable[[], None]) -> Shown:
        """Return the result with the JSON `body`. `print_it` prints it for people."""
        text = io.StringIO()
        with redirect_stdout(text):
            print_it()
        json_text(body)
        return cls(text.getvalue(), body)


View: TypeAlias = "Callable[[OpenDatabase], Awaitable[Shown]]"


async def show(opened: OpenDatabase, view: View, rows: Callable[[], Rows], *, json: bool) -> int:
    """Print the view, and name the unreadable values. Return the command's status: 1 if there are unreadable values.

    Args:
        view: reads through the stores.
        rows: returns the rows of the view. It is called when the view fails.

    Raises:
        CommandError: the view raised it.
        Exception: the view failed, and every row can be read.
    """
    shown, unreadable = await _readable(opened, view, rows)
    if json:
        print(json_text({**shown.body, "unreadable": unreadable} if unreadable else shown.body))
    else:
        print(shown.text, end="")
    for place, each in enumerate(unreadable, 1):
        hint = "; `doctor` shows more" if place == len(unreadable) else ""
        print(printable(f"unreadable: {each}{hint}"), file=sys.stderr)
    return int(bool(unreadable))


async def _readable(opened: OpenDatabase, view: View, rows: Callable[[], Rows]) -> tuple[Shown, list[str]]:
    try:
        return await view(opened), []
    except _FAILURES:
        with closing(SqliteDatabase()) as copy:
            unreadable = await _copied(rows(), copy)
            if not unreadable:
                raise
            return await view(OpenDatabase(copy, opened.place)), unreadable


async def rows_of_session(opened: OpenDatabase, session_id: str) -> Rows:
    """Return the rows of one session, without its usage."""
    tables: tuple[LiteralString, ...] = ("__agents_states", *HIDDEN)
    for table in tables:
        async for row in rows_of(opened.database, table, session_id):
            yield table, row
    async for row in selected(opened, _SELECT_BLOCKS, ("id", "count", "body"), (session_id, MAX_MESSAGES)):
        yield _BLOCKS, row


async def rows_of_tables(opened: OpenDatabase, *tables: LiteralString) -> Rows:
    """Return every row of some tables."""
    for table in tables:
        columns = await columns_of(opened.database, table)
        listed = cast("LiteralString", ", ".join(columns))  # type: ignore[redundant-cast]
        async for row in selected(opened, f"SELECT {listed} FROM {table}", columns):  # noqa: S608 - names of the schema
            yield table, row


async def selected(
    opened: OpenDatabase, sql: LiteralString, columns: Sequence[str], parameters: tuple[SqlValue, ...] = ()
) -> AsyncIterator[StoredRow]:
    """Yield the rows of a statement, by their columns."""
    [rows] = await batch_with_retry(opened.database, [Statement(sql, parameters)])
    for row in rows:
        yield dict(zip(columns, row, strict=True))


async def _copied(rows: Rows, copy: SqliteDatabase) -> list[str]:
    """Copy rows with neutral values in place of unreadable ones. Return the unreadable values."""
    await run_migration(copy)
    columns = await columns_by_table()
    unreadable: list[str] = []
    async for table, row in rows:
        present = [column for column in columns[table] if column.name in row]
        faults = _block_faults(row) if table == _BLOCKS else {}
        faults |= faults_of(table, present, row)
        unreadable += [f"{_name(table, present, row)}: {column} {fault}" for column, fault in faults.items()]
        if not any(column.is_key and column.name in faults for column in present):
            await copy.batch([insert(table, _neutral(table, present, row, faults))])
    return unreadable


def _block_faults(row: Mapping[str, object]) -> dict[str, str]:
    body, count = row["body"], row["count"]
    if not isinstance(body, str) or not isinstance(count, int):
        return {}
    try:
        messages = cast("list[object]", json_format.loads(f"[{body.replace(SEPARATOR, ',')}]"))
    except (ValueError, RecursionError):
        return {"body": "is no JSON"}
    is_whole = len(messages) == count and all(isinstance(each, dict) for each in messages)
    return {} if is_whole else {"body": "holds other than the messages it counts"}


def _neutral(table: LiteralString, columns: Sequence[Column], row: StoredRow, faults: Mapping[str, str]) -> StoredRow:
    made = {column.name: neutral_value(table, column) for column in columns if column.name in faults}
    if table == _BLOCKS and "body" in faults and isinstance(count := row["count"], int) and 0 < count <= MAX_MESSAGES:
        made["body"] = SEPARATOR.join([_UNREADABLE_MESSAGE] * count)
    return {**row, **made}


def _name(table: str, columns: Sequence[Column], row: Mapping[str, object]) -> str:
    key = ", ".join(f"{column.name} {row[column.name]!r:.100}" for column in columns if column.is_key)
    return f"{table} ({key})"
