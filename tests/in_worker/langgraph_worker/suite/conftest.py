"""The fixtures of the in-worker tests of LangGraph."""

from typing import Any

import pytest

from agents_store_cloudflare.database import retry


@pytest.fixture
async def database(env: Any) -> Any:
    """Real D1, migrated, without rows of other tests."""
    from agents_store_cloudflare.cloudflare.d1 import as_database
    from agents_store_cloudflare.migrations import drop_all_tables, run_migration

    await drop_all_tables(env.AGENT_DB)
    await run_migration(env.AGENT_DB)
    return as_database(env.AGENT_DB)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that failed transiently is sent again at once."""

    async def pause(attempt: int) -> None:
        assert attempt < retry.ATTEMPTS

    monkeypatch.setattr(retry, "pause_before_retry", pause)
