"""A store with homes in process: sqlite for D1, a clock that tests turn."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, LiteralString

from agents_store_cloudflare import (
    CloudflareStore,
    SessionOptions,
    UsageOptions,
    create_cloudflare_store,
    run_migration,
)
from agents_store_cloudflare.database import Row, SqlError, Statement
from agents_store_cloudflare.durable_streams import StreamObject
from agents_store_cloudflare.homes.session_object import SessionObject
from agents_store_cloudflare.locks.lock_object import LockObject
from agents_store_cloudflare.testing import FakeClock, LocalObjects, SqliteDatabase

__all__ = ["HomeWorld", "store_with_homes"]


async def store_with_homes() -> CloudflareStore:
    """Return a store whose sessions live in homes, on a new database. Its directory has each change at once."""
    database = SqliteDatabase()
    await run_migration(database)
    return create_cloudflare_store(
        db=database,
        streams=LocalObjects(StreamObject),
        locks=LocalObjects(LockObject),
        sessions=LocalObjects(lambda host: SessionObject(host, database=lambda: database)),
        session_options=SessionOptions(directory_delay=0),
    )


async def settled() -> None:
    """Let every task run until all of them wait for the clock, at most 200 times."""
    ready: Sequence[object] = asyncio.get_running_loop()._ready  # type: ignore[attr-defined] # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue, reportUnknownVariableType]
    for _ in range(200):
        await asyncio.sleep(0)
        if not ready:
            return


class Switch:
    """A database that a test can put out of reach."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database
        self.is_out = False
        self.batches = 0

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        await asyncio.sleep(0)
        self.batches += 1
        if self.is_out:
            raise SqlError("D1_ERROR: D1 is out of reach")
        return await self._database.batch(statements)


@dataclass
class HomeWorld:
    """The parts of a store with homes."""

    clock: FakeClock = field(default_factory=lambda: FakeClock(1_700_000_000_000))
    database: SqliteDatabase = field(default_factory=SqliteDatabase)

    def __post_init__(self) -> None:
        self.d1 = Switch(self.database)
        self.sessions = LocalObjects(lambda host: SessionObject(host, database=lambda: self.d1), clock=self.clock)
        self.streams = LocalObjects(StreamObject, clock=self.clock)
        self.locks = LocalObjects(LockObject, clock=self.clock)

    async def store(self, usage: UsageOptions | None = None, **options: Any) -> CloudflareStore:
        """Return a store over this world."""
        await run_migration(self.database)
        return create_cloudflare_store(
            db=self.database,
            streams=self.streams,
            locks=self.locks,
            sessions=self.sessions,
            session_options=SessionOptions(**options),
            usage_options=usage,
        )

    def host(self, home: str) -> Any:
        """Return the platform of one home."""
        return self.sessions._host(home)  # pyright: ignore[reportPrivateUsage]

    def sql(self, home: str) -> Any:
        """Return the database of one home."""
        return self.host(home).sql

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and make the due calls."""
        await self.clock.advance(seconds)
        await settled()

    async def rows(self, sql: LiteralString) -> list[Row]:
        """Return the rows of D1."""
        [rows] = await self.database.batch([Statement(sql)])
        return rows
