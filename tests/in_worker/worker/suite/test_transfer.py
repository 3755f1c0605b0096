"""Export and import over real D1 and real Durable Objects."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from agents_store_cloudflare import D1StateStore, D1UsageStore, SessionOptions, create_cloudflare_store
from agents_store_cloudflare.store import CloudflareStore
from agents_store_cloudflare.testing.conformance.transfer import TransferConformance
from agents_store_cloudflare.transfer import export_session, import_session


class TestTransfer(TransferConformance):
    @pytest.fixture
    def store(self, env: Any, database: Any) -> CloudflareStore:
        return create_cloudflare_store(db=database, streams=env.STREAMS, locks=env.LOCKS)

    @pytest.fixture
    def source(self, database: Any) -> Any:
        return database


class TestTransferOfHomes(TransferConformance):
    @pytest.fixture
    def store(self, env: Any, database: Any) -> CloudflareStore:
        return create_cloudflare_store(
            db=database,
            streams=env.STREAMS,
            locks=env.LOCKS,
            sessions=env.SESSIONS,
            session_options=SessionOptions(directory_delay=0),
        )

    @pytest.fixture
    def source(self, store: CloudflareStore) -> CloudflareStore:
        return store

    @pytest.fixture
    def member(self) -> Callable[[str, str], str]:
        return lambda family, name: f"{family}//{name}"


async def test_from_d1_into_homes_and_back(env: Any, database: Any) -> None:
    """TR-13: A session with a history over 8 MB moves from D1 into a home and back, and its usage counts once."""
    store = create_cloudflare_store(db=database, streams=env.STREAMS, locks=env.LOCKS, sessions=env.SESSIONS)
    name, states = uuid.uuid4().hex, D1StateStore(database)
    await states.create_session(name, agent_type="x")
    for number in range(12):
        await states.append_messages(name, [{"role": "user", "content": f"{number}".ljust(800_000, "é")}])
    await states.save_checkpoint(name)
    await D1UsageStore(database).record_tool(name, tool_name="t", duration_ms=1, success=True)
    before = await states.load_state(name)
    copy = await export_session(database, name)
    await states.delete_session(name)
    await import_session(store, copy)
    assert await store.state_store.load_state(name) == before
    assert (await store.usage_store.get_rollup(name)).entry_count == 1
    copy = await export_session(store, name)
    await store.state_store.delete_session(name)
    await store.project_home(name)
    await import_session(database, copy)
    after = await states.load_state(name, required=True)
    assert before is not None
    assert after.messages == before.messages
    assert (await D1UsageStore(database).get_rollup(name)).entry_count == 1
    await states.delete_session(name, delete_usage=True)
