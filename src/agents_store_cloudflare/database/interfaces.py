"""The two SQL seams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import LiteralString, Protocol, TypeAlias, TypeVar, runtime_checkable

from agents_store_cloudflare.database.statements import Row, SqlValue, Statement

__all__ = ["BatchCost", "BatchObserver", "Database", "Homes", "ObjectSql", "OneDatabase", "T"]

T = TypeVar("T")


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


@runtime_checkable
class Homes(Protocol):
    """Where sessions live."""

    def of(self, session_id: str) -> Database:
        """The database that holds the session, and everything that changes in one transaction with it."""
        ...

    def admit(self, session_id: str, parent_session_id: str | None) -> None:
        """Raise `InvalidArgumentError` where a session of this parent cannot live under this id."""
        ...


class OneDatabase:
    """`Homes` of sessions that all live in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, session_id: str) -> Database:  # noqa: ARG002 - every session lives there
        """`Homes.of`."""
        return self._database

    def admit(self, session_id: str, parent_session_id: str | None) -> None:
        """`Homes.admit`: any."""


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
