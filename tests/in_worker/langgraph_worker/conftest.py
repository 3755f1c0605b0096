"""The fixtures of the in-worker tests of LangGraph."""

from functools import partial
from typing import Any

import pytest

from agents_store_cloudflare.database import retry
from agents_store_cloudflare.testing import FakeClock

MAKERS = {"test_items"}
"""Modules whose tests make their databases themselves. Inside they make `RealD1`."""


@pytest.fixture
def clock() -> FakeClock:
    """The clock of a test's database."""
    return FakeClock()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that failed transiently is sent again at once."""

    async def pause(attempt: int) -> None:
        assert attempt < retry.ATTEMPTS

    monkeypatch.setattr(retry, "pause_before_retry", pause)


@pytest.fixture
async def database(env: Any) -> Any:
    """Real D1, migrated, without rows of other tests."""
    from real_d1 import RealD1

    from agents_store_cloudflare.migrations import run_migration

    database = RealD1(env.AGENT_DB)
    await run_migration(database)
    return database


@pytest.fixture(autouse=True)
def real_databases(request: Any, monkeypatch: pytest.MonkeyPatch, env: Any) -> None:
    """Put real D1 in the place of the sqlite of modules that do not take the fixture."""
    from real_d1 import RealD1

    if request.module.__name__ in MAKERS:
        monkeypatch.setattr(request.module, "SqliteDatabase", partial(RealD1, env.AGENT_DB))
