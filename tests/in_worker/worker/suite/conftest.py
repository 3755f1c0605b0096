"""The fixtures of the in-worker tests: the stores on the real bindings."""

import uuid
from typing import Any

import pytest

pytest.register_assert_rewrite("agents_store_cloudflare.testing")


@pytest.fixture
def unique() -> str:
    """A prefix for ids that no other test uses."""
    return uuid.uuid4().hex


@pytest.fixture
def database(env: Any) -> Any:
    """Real D1, migrated."""
    from pyodide.ffi import run_sync

    from agents_store_cloudflare.cloudflare.d1 import as_database
    from agents_store_cloudflare.migrations import run_migration

    database = as_database(env.AGENT_DB)
    run_sync(run_migration(database))
    return database
