"""Fixtures of the tests of the adapter of the harness of pydantic-ai."""

import pytest

from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.testing import SqliteDatabase


@pytest.fixture
async def database() -> SqliteDatabase:
    database = SqliteDatabase()
    await run_migration(database)
    return database
