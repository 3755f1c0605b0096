"""The two SQL seams. Everything above them is plain Python and SQL text; below them is D1, a Durable Object or sqlite3.

- `Database` is asynchronous and knows one call: a batch of statements, which is one transaction (D1's own rule).
- `ObjectSql` is synchronous: the SQLite database inside a Durable Object. Code between two awaits is exclusive there.

Numbers cross into JavaScript as doubles, so no integer beyond 2^53 - 1 is ever bound; user JSON travels as text. A guard
is a SELECT that aborts its batch with live facts in the error's text (`GUARD_MARK`), at no written row.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import LiteralString, Protocol, TypeAlias, TypeVar

from agents_store_cloudflare.backoff import backoff_s

__all__ = [
    "GUARD_MARK",
    "MAX_VALUE_BYTES",
    "BatchCost",
    "BatchObserver",
    "Database",
    "ObjectSql",
    "Row",
    "SqlError",
    "SqlValue",
    "Statement",
    "batch_with_retry",
    "compact_sql",
    "pause_before_retry",
]

T = TypeVar("T")

SqlValue: TypeAlias = "str | int | float | None"
Row: TypeAlias = "list[SqlValue]"

MAX_VALUE_BYTES = 2_000_000
"""The limit of D1 and of Durable Objects for one bound value; the local runtime does not enforce it, the seams do."""

GUARD_MARK = "agents-store "
"""What stands before the JSON object of facts in the error text of a guard that did not hold."""

ATTEMPTS = 4

# https://developers.cloudflare.com/d1/best-practices/retry-queries/ and .../observability/debug-d1/
_TRANSIENT = (
    "Network connection lost",
    "storage caused object to be reset",
    "reset because its code was updated",
    "Cannot resolve D1 DB due to transient issue on remote node",
    "Can't read from request stream because client disconnected",
)
# The database's own words for a statement that failed or was never begun. After any other failure the batch may have happened.
_NOTHING_HAPPENED = (
    "SQLITE_",
    "D1_TYPE_ERROR",
    "Wrong number of parameter bindings",
    "No SQL statements detected",
    "Too many requests queued",
    "Requests queued for too long",
)
_CONSTRAINT = re.compile(r"SQLITE_CONSTRAINT_(\w+)")


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement with the values of its numbered parameters (?1, ?2 …, at most 100)."""

    sql: LiteralString
    parameters: tuple[SqlValue, ...] = ()


@lru_cache(maxsize=1_000)
def compact_sql(sql: str) -> str:
    """The statement without its layout: D1 sends and parses its text with every call. No literal of ours spans lines."""
    return "\n".join(map(str.strip, sql.split("\n")))


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCost:
    """What one batch cost, by the database's own count."""

    statements: int
    rows_read: int
    rows_written: int


BatchObserver: TypeAlias = "Callable[[BatchCost], None]"


class Database(Protocol):
    """D1, or what behaves like it."""

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run the statements in order as one transaction; each one's rows, in the order of its columns.

        Raises:
            SqlError: one of them failed and none has happened, or (`transient`) the reply was lost.
        """
        ...


class ObjectSql(Protocol):
    """The SQLite database of one Durable Object."""

    def exec(self, sql: LiteralString, *parameters: SqlValue) -> list[Row]:
        """Run one statement and return its rows.

        Raises:
            SqlError: it failed.
        """
        ...

    def long_text(self, sql: LiteralString, *parameters: SqlValue) -> str:
        """The one value of the statement's one row, a text; for long ones, which `exec` brings over more slowly.

        Raises:
            SqlError: it failed.
        """
        ...

    def transaction(self, body: Callable[[], T]) -> T:
        """Run `body`; when it raises, everything it wrote is undone and the exception goes on."""
        ...

    def get_text(self, key: str) -> str | None:
        """What `put_text` keeps under a key, beside the tables and in the same transactions: one row read."""
        ...

    def put_text(self, key: str, text: str) -> None:
        """Keep a text under a key: one row written, the first time too. A table of one's own costs two rows before its first."""
        ...

    def delete_text(self, key: str) -> None:
        """Forget a key: one row written where there was one."""
        ...

    def list_texts(self, prefix: str, *, after: str, limit: int) -> list[tuple[str, str]]:
        """Up to `limit` keys that begin with `prefix` and come after `after`, with their texts, in the order of their UTF-8 bytes."""
        ...


class SqlError(Exception):
    """What a database said, as facts; the stores turn it into their own errors.

    Attributes:
        constraint: the kind of a violated constraint ("PRIMARYKEY", "UNIQUE", "CHECK" …) or None.
        transient: the same batch may be sent again; it may or may not have happened already.
        outcome_unknown: the batch may have happened all the same.
        guard: the facts of a guard that did not hold, or None.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        found = _CONSTRAINT.search(message)
        self.constraint: str | None = found.group(1) if found else None
        self.transient: bool = any(text in message for text in _TRANSIENT)
        self.outcome_unknown: bool = not any(text in message for text in _NOTHING_HAPPENED)
        self.guard: Mapping[str, SqlValue] | None = _guard_facts(message)

    def is_missing_table(self) -> bool:
        return "no such table" in str(self)


def _guard_facts(message: str) -> Mapping[str, SqlValue] | None:
    start = message.find(GUARD_MARK + "{")
    if start < 0:
        return None
    # SQLite quotes the path it complains about, and doubles the quotes inside.
    text = message[start + len(GUARD_MARK) :].replace("''", "'")
    facts: dict[str, SqlValue]
    facts, _ = json.JSONDecoder().raw_decode(text)
    return facts


async def batch_with_retry(database: Database, statements: Sequence[Statement]) -> list[list[Row]]:
    """`database.batch`, sent up to four times while it fails transiently.

    Only for batches that are safe to send twice: reads, and writes behind a guard that recognises the repetition.
    """
    for attempt in range(1, ATTEMPTS):
        try:
            return await database.batch(statements)
        except SqlError as error:
            if not error.transient:
                raise
        await pause_before_retry(attempt)
    return await database.batch(statements)


async def pause_before_retry(attempt: int) -> None:
    """Wait as `backoff_s` says."""
    await asyncio.sleep(backoff_s(attempt))
