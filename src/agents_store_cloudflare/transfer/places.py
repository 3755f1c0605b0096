"""The places of a session's rows: one database, or the session's home and D1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString, Protocol, runtime_checkable

from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.database import Database, Homes, Row, Statement, batch_with_retry, primary_of
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.state.copied_accounts_sql import ACCOUNT_TABLES
from agents_store_cloudflare.usage.options import DEFAULT_TABLE
from agents_store_cloudflare.usage.table_names import for_table

__all__ = ["Place", "SessionHomes", "Source", "SourceParts", "place_of"]


class SessionHomes(Homes, Protocol):
    """The homes of a store's sessions."""

    async def check_new(self, session_id: str) -> None:
        """Raise `SessionNotMovedError` if D1 holds the session."""
        ...

    async def drain(self, session_id: str) -> None:
        """Have the session's home send its usage to D1."""
        ...

    async def has_waiting_usage(self, session_id: str) -> bool:
        """Return whether usage of the session waits in its home."""
        ...

    def letter_of_copy(self, session_id: str, number: int, name: str, *, is_replaced: bool) -> Statement:
        """Return the statement by which the home stores the staged usage of a copy in D1 later."""
        ...


class SourceParts(Protocol):
    """The parts of a store that copies need."""

    @property
    def database(self) -> Database: ...
    @property
    def usage_table(self) -> str: ...
    @property
    def homes(self) -> SessionHomes | None: ...


@runtime_checkable
class Source(Protocol):
    """A store, as `create_cloudflare_store` makes it."""

    @property
    def parts(self) -> SourceParts:
        """Its parts."""
        ...

    @property
    def state_store(self) -> D1StateStore:
        """Its sessions."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where the rows of sessions are.

    Attributes:
        accounts: the database of usage and budgets.
        states: the sessions.
        homes: the homes of the sessions; None when they are in the same database.
    """

    accounts: Database
    states: D1StateStore
    homes: SessionHomes | None = None

    def sessions(self, session_id: str) -> Database:
        """Return the database of one session."""
        return self.accounts if self.homes is None else self.homes.of(session_id)

    def holder(self, table: LiteralString, session_id: str) -> Database:
        """Return the database that has the session's rows of this table."""
        return self.accounts if table in ACCOUNT_TABLES else self.sessions(session_id)

    def admit(self, session_id: str, parent_session_id: str | None) -> None:
        """Check that the session may have this id here.

        Raises:
            InvalidArgumentError: it would live in another home than its parent, or its home would have no name.
        """
        if self.homes is not None:
            self.homes.admit(session_id, parent_session_id)

    async def settle(self, session_id: str) -> None:
        """Bring the usage in D1 up to date.

        Raises:
            UsageError, D1StateError: the session's home could not send it.
        """
        if self.homes is not None:
            await self.homes.drain(session_id)

    async def refuse_elsewhere(self, session_id: str) -> None:
        """Check that the session does not live elsewhere: in D1 when this place has homes, or in a home when it has none.

        Raises:
            SessionNotMovedError: D1 holds the session.
            InvalidArgumentError: the session lives in a home, and no store with homes was given.
        """
        if self.homes is not None:
            await self.homes.check_new(session_id)
            return
        [rows] = await batch_with_retry(self.accounts, [Statement(_HOME, (session_id,))])
        if rows:
            raise InvalidArgumentError(
                f"session {session_id!r} lives in home {rows[0][0]!r}, which only a Worker reaches: give the store of "
                "create_cloudflare_store(sessions=…) in the place of the database"
            )


# ?1 session id -> (its home), or no row if the directory has no such session. Primary key.
_HOME: LiteralString = """
    SELECT home
    FROM __agents_directory
    WHERE session_id = ?1
      AND deleted = 0
"""


def place_of(given: object) -> Place:
    """Return the place of a store, of a D1 binding or of a `Database`.

    Raises:
        TypeError: it is none of them.
    """
    if isinstance(given, Source):
        parts = given.parts
        database = primary_of(parts.database)
        accounts = database if parts.usage_table == DEFAULT_TABLE else _UsageTable(database, parts.usage_table)
        return Place(accounts, given.state_store, parts.homes)
    database = as_database(given)
    return Place(database, D1StateStore(database))


class _UsageTable(Database):
    """D1 with the usage in a table of another name."""

    def __init__(self, database: Database, table: str) -> None:
        self._database = database
        self._table = table

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        own = [Statement(for_table(each.sql, self._table), each.parameters) for each in statements]
        return await self._database.batch(own)
