"""A database whose clock moves and that fails, for the tests of budgets."""

import pytest

from agents_store_cloudflare import run_migration
from agents_store_cloudflare.testing import FakeClock, FaultyDatabase, SqliteDatabase


@pytest.fixture
async def database(clock: FakeClock) -> FaultyDatabase:
    sqlite = SqliteDatabase(now_ms=clock.now_ms)
    await run_migration(sqlite)
    return FaultyDatabase(sqlite)
