"""The sources of the console: a whole store, or a database alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Self

from agents_store_cloudflare.contract.arguments import system_now_ms
from agents_store_cloudflare.database import Database, Row, Statement, batch_with_retry
from agents_store_cloudflare.locks import DurableObjectLockManager
from agents_store_cloudflare.metering.meter import Meter, MeteredDatabase, OpenMeters
from agents_store_cloudflare.state.turn_store import D1TurnStore
from agents_store_cloudflare.store import CloudflareStore
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.streams.stream_client import StreamClient
from agents_store_cloudflare.usage import D1UsageStore
from agents_store_cloudflare.usage.options import DEFAULT_TABLE

__all__ = ["Objects", "Sources"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Objects:
    """The parts that need Durable Objects: streams, locks, and the store's calls that use both."""

    store: CloudflareStore
    streams: DurableObjectStreamManager
    stream_client: StreamClient
    locks: DurableObjectLockManager | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The stores behind the pages.

    Attributes:
        objects: None for a database alone, as on the host. Then pages and acts that need an object are not offered.
        database_of: returns the home of a session; None when the sessions are in D1.
    """

    database: Database
    states: D1TurnStore
    usage: D1UsageStore
    usage_table: str
    meter: Callable[[], AbstractContextManager[Meter]]
    objects: Objects | None
    database_of: Callable[[str], Database] | None = None
    now_ms: Callable[[], int] = system_now_ms

    @classmethod
    def of_store(cls, store: CloudflareStore) -> Self:
        """Return the sources of a request's store."""
        parts = store.parts
        return cls(
            database=parts.database,
            states=store.state_store,
            usage=store.usage_store,
            usage_table=parts.usage_table,
            meter=store.meter,
            objects=Objects(
                store=store,
                streams=store.stream_manager,
                stream_client=store.stream_manager.client,
                locks=store.lock_manager,
            ),
            database_of=None if parts.homes is None else parts.homes.of,
            now_ms=store.state_store.now_ms,
        )

    @classmethod
    def of_database(cls, database: Database) -> Self:
        """Return the sources of a database alone."""
        meters = OpenMeters()
        metered = MeteredDatabase(database, meters)
        return cls(
            database=metered,
            states=D1TurnStore(metered),
            usage=D1UsageStore(metered),
            usage_table=DEFAULT_TABLE,
            meter=meters.open,
            objects=None,
        )

    @property
    def of_copies(self) -> object:
        """What the calls of `transfer` read: the store, because sessions may live in homes, or the database alone."""
        return self.database if self.objects is None else self.objects.store

    async def rows(self, *statements: Statement) -> list[list[Row]]:
        """Return the rows of statements that only read, in one round trip."""
        return await batch_with_retry(self.database, statements)

    def session_database(self, session_id: str) -> Database:
        """Return the database of a session: D1, or the session's home."""
        return self.database if self.database_of is None else self.database_of(session_id)

    async def session_rows(self, session_id: str, *statements: Statement) -> list[list[Row]]:
        """Return the rows of statements about one session, in one round trip to its database."""
        return await batch_with_retry(self.session_database(session_id), statements)
