"""The state store on sqlite, through the same conformance class as on D1."""

import pytest

from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing import SqliteDatabase
from agents_store_cloudflare.testing.state_conformance import StateConformance


class TestState(StateConformance):
    @pytest.fixture
    async def state_store(self) -> D1StateStore:
        database = SqliteDatabase()
        await run_migration(database)
        return D1StateStore(database)
