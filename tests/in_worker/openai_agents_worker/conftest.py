"""The fixtures of the in-worker tests of the OpenAI Agents SDK, and of pydantic-ai."""

from typing import Any

import pytest

pytest.register_assert_rewrite("agents_store_cloudflare.testing")


@pytest.fixture
async def database(env: Any) -> Any:
    """Real D1, migrated, without rows of other tests."""
    from real_d1 import RealD1

    from agents_store_cloudflare.migrations import run_migration

    database = RealD1(env.AGENT_DB)
    await run_migration(database)
    return database
