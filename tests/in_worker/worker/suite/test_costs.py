"""What calls cost, by D1's own count. Rows written are what users pay for: a change that makes one dearer must change this page."""

from typing import Any

import pytest

from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.contract.state.records import AgentState, Message
from agents_store_cloudflare.database import BatchCost
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.state import D1StateStore


@pytest.fixture
def costs() -> list[BatchCost]:
    return []


@pytest.fixture
def observed(env: Any, costs: list[BatchCost]) -> Any:
    from pyodide.ffi import run_sync

    run_sync(run_migration(env.AGENT_DB))
    return as_database(env.AGENT_DB, observer=costs.append)


def _messages(count: int) -> list[Message]:
    return [{"role": "user", "content": f"message {n}"} for n in range(count)]


async def test_saves(observed: Any, costs: list[BatchCost], unique: str) -> None:
    """ST-20: one batch a save; 2 rows written for any number of messages that fit a block, 1 for none, 3 with a checkpoint."""
    store = D1StateStore(observed)
    state = AgentState(session_id=unique, agent_type="x", messages=_messages(2))
    await store.save(state, fencing_token=1)
    state.messages += _messages(1)
    await store.save(state, fencing_token=1)
    state.messages += _messages(20)
    await store.save(state, fencing_token=1)
    await store.save(state, fencing_token=1)
    state.messages += _messages(2)
    await store.save_checkpoint(unique, state, fencing_token=1)
    await store.update_status(unique, "done", fencing_token=1)
    assert [cost.rows_written for cost in costs] == [5, 2, 2, 1, 3, 1]


async def test_reads(observed: Any, costs: list[BatchCost], unique: str) -> None:
    """ST-20: a read is one batch and writes nothing; the last 10 of many messages cost what 10 messages cost."""
    store = D1StateStore(observed)
    state = AgentState(session_id=unique, agent_type="x")
    for _ in range(40):
        state.messages += _messages(5)
        await store.save(state)
    costs.clear()
    await store.load_state(unique, messages=10)
    await store.get_messages(unique, offset=190, limit=10)
    await store.exists(unique)
    assert [cost.rows_written for cost in costs] == [0, 0, 0]
    assert all(cost.rows_read <= 8 for cost in costs), costs
