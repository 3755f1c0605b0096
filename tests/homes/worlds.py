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

__all__ = ["HomeWorld"]


class Switch:
    """A database that can be out of reach."""

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
    """Everything that a store with homes needs."""

    clock: FakeClock = field(default_factory=lambda: FakeClock(1_700_000_000_000))
    database: SqliteDatabase = field(default_factory=SqliteDatabase)

    def __post_init__(self) -> None:
        self.d1 = Switch(self.database)
        self.sessions = LocalObjects(lambda host: SessionObject(host, database=lambda: self.d1), clock=self.clock)
        self.streams = LocalObjects(StreamObject, clock=self.clock)
        self.locks = LocalObjects(LockObject, clock=self.clock)

    async def store(self, usage: UsageOptions | None = None, **options: Any) -> CloudflareStore:
        """A store over this world."""
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
        """The platform of one home."""
        return self.sessions._host(home)  # pyright: ignore[reportPrivateUsage]

    def sql(self, home: str) -> Any:
        """The database of one home."""
        return self.host(home).sql

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and what is due happen."""
        await self.clock.advance(seconds)
        for _ in range(200):
            await asyncio.sleep(0)

    async def rows(self, sql: LiteralString) -> list[Row]:
        """What D1 holds."""
        [rows] = await self.database.batch([Statement(sql)])
        return rows
