"""The two SQL seams as protocols: `Database` and `ObjectSql`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import LiteralString, Protocol, TypeAlias, TypeVar, runtime_checkable

from agents_store_cloudflare.database.statements import Row, SqlValue, Statement

__all__ = [
    "BatchCost",
    "BatchObserver",
    "Database",
    "DatabaseSession",
    "HasSessions",
    "Homes",
    "ObjectSql",
    "OneDatabase",
    "RowCursor",
    "T",
    "primary_of",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCost:
    """The cost of one batch, by the database's own count."""

    statements: int
    rows_read: int
    rows_written: int


BatchObserver: TypeAlias = "Callable[[BatchCost], None]"


class Database(Protocol):
    """D1, or a database that behaves like it."""

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run the statements in order as one transaction, all or nothing.

        Returns:
            For each statement its rows. A row is a list of values in the order of the columns.

        Raises:
            SqlError: a statement failed and nothing was written, or the reply was lost (`outcome_unknown`).
        """
        ...


class DatabaseSession(Protocol):
    """A sequence of batches in which no read is older than an earlier batch. Read replicas may serve its reads."""

    @property
    def bookmark(self) -> str | None:
        """The point that the session has seen; None before its first batch."""
        ...

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run the statements as `Database.batch` does. A batch that writes goes to the primary database."""
        ...


@runtime_checkable
class HasSessions(Protocol):
    """A database with read replicas."""

    def session(self, bookmark: str) -> DatabaseSession:
        """Return a session that sees at least what `bookmark` has seen.

        Args:
            bookmark: the `bookmark` of another session, "first-primary" or "first-unconstrained".
        """
        ...


def primary_of(database: Database) -> Database:
    """Return the primary database of a session. Any other database is its own primary."""
    primary: Database = getattr(database, "primary", database)
    return primary


@runtime_checkable
class Homes(Protocol):
    """Finds the databases of sessions, when sessions live in several databases."""

    def of(self, session_id: str) -> Database:
        """Return the database of the session and of all rows that change in one transaction with it."""
        ...

    def of_new(self, session_id: str) -> Database:
        """Return the database in which a call creates the session. The call is refused if the session exists."""
        ...

    def admit(self, session_id: str, parent_session_id: str | None) -> None:
        """Check that a child of this parent may have this id.

        Raises:
            InvalidArgumentError: the child would live in another database than its parent.
        """
        ...


class OneDatabase(Homes):
    """Gives the same database for every session."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, session_id: str) -> Database:  # noqa: ARG002 - every session lives there
        return self._database

    def of_new(self, session_id: str) -> Database:
        """Return the same database."""
        return self.of(session_id)

    def admit(self, session_id: str, parent_session_id: str | None) -> None:
        """Allow every id: all sessions live in the same database."""


class RowCursor(Protocol):
    """The rows of one statement, read a few at a time."""

    def take(self, most: int) -> list[Row]:
        """Return the next rows, at most `most`. At the end it returns an empty list.

        Raises:
            SqlError: the statement failed.
        """
        ...


class ObjectSql(Protocol):
    """The SQLite database of one Durable Object."""

    def exec(self, sql: LiteralString, *parameters: SqlValue) -> list[Row]:
        """Run one statement and return its rows.

        Raises:
            SqlError: the statement failed.
        """
        ...

    def exec_each(self, statements: Sequence[tuple[LiteralString, Sequence[SqlValue]]]) -> list[list[Row]]:
        """Run statements in order and return the rows of each: what `exec` returns for one after the other, in fewer calls.

        Raises:
            SqlError: a statement failed. The statements before it have run.
        """
        ...

    def cursor(self, sql: LiteralString, *parameters: SqlValue) -> RowCursor:
        """Run one statement whose rows may not fit into memory together.

        Raises:
            SqlError: the statement failed.
        """
        ...

    def long_text(self, sql: LiteralString, *parameters: SqlValue) -> str:
        """Run a statement that returns one row with one text, and return the text. For a long text this is faster than `exec`.

        Raises:
            SqlError: the statement failed.
        """
        ...

    def transaction(self, body: Callable[[], T]) -> T:
        """Run a function as one transaction. If it raises, everything that it wrote is undone and the exception is raised on."""
        ...

    def get_text(self, key: str) -> str | None:
        """Return the text that `put_text` keeps under a key, or None. It costs one row read."""
        ...

    def put_text(self, key: str, text: str) -> None:
        """Keep a text under a key, beside the tables and in the same transactions.

        It costs one written row, also for the first key. A new table would cost two rows before its first row.
        """
        ...

    def delete_text(self, key: str) -> None:
        """Forget a key. It costs one written row when the key exists."""
        ...

    def list_texts(self, prefix: str, *, after: str, limit: int) -> list[tuple[str, str]]:
        """Return keys that begin with `prefix`, with their texts, in the order of their UTF-8 bytes.

        Args:
            prefix: the beginning of the keys.
            after: only keys after this one.
            limit: the most keys.
        """
        ...

    def size_bytes(self) -> int:
        """Return the size of the database in bytes."""
        ...
