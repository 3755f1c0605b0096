"""The fixtures of the in-worker tests of LangGraph."""

from functools import partial
from typing import Any

import pytest

MAKERS = {"test_items"}
"""Modules whose tests make their databases themselves. Inside they make `RealD1`."""


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
