"""Fixtures of the tests of the adapters."""

import pytest

from agents_store_cloudflare.database import retry
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.testing import SqliteDatabase


@pytest.fixture
async def database() -> SqliteDatabase:
    database = SqliteDatabase()
    await run_migration(database)
    return database


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that failed transiently is sent again at once."""

    async def pause(attempt: int) -> None:
        assert attempt < retry.ATTEMPTS

    monkeypatch.setattr(retry, "pause_before_retry", pause)
