"""What usage costs, by D1's own count. Rows written are what users pay for: a change that makes one dearer must change this page."""

from collections.abc import Iterator
from typing import Any

import pytest

from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.contract.state.records import AgentState
from agents_store_cloudflare.database import BatchCost, Database, Statement
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.usage import D1UsageStore

SIZES = (100, 10_000, 100_000)

# ?1 session id, ?2 entries there are, ?3 entries there shall be: three model calls, then a tool call, and so on, over ten days
FILL = """
    INSERT INTO __agents_usage (id, session_id, kind, step_count, timestamp, source_type, source_name, data, created_at)
    WITH RECURSIVE number (n) AS (SELECT CAST(?2 AS INTEGER) UNION ALL SELECT n + 1 FROM number WHERE n + 1 < ?3)
    SELECT
      ?1 || '-' || n, ?1, CASE n % 4 WHEN 3 THEN 'tool' ELSE 'tokens' END, n, n * 8640, 'agent', 'x',
      CASE n % 4
        WHEN 3 THEN '{"toolName":"search","durationMs":5,"success":true}'
        ELSE '{"model":"m","tokens":{"prompt":10,"completion":5,"reasoning":0,"cached":0,"total":15}}'
      END,
      0
    FROM number
"""


@pytest.fixture
def costs() -> list[BatchCost]:
    return []


@pytest.fixture
def observed(env: Any, costs: list[BatchCost]) -> Any:
    from pyodide.ffi import run_sync

    run_sync(run_migration(env.AGENT_DB))
    return as_database(env.AGENT_DB, observer=costs.append)


@pytest.fixture
def filled(observed: Database, unique: str) -> Iterator[str]:
    """Return the id of a session that may have many entries, which are deleted at the end."""
    from pyodide.ffi import run_sync

    yield unique
    run_sync(observed.batch([Statement("DELETE FROM __agents_usage WHERE session_id = ?1", (unique,))]))
    run_sync(D1UsageStore(observed).rebuild_rollups())


def _entries(session_id: str, count: int) -> list[dict[str, Any]]:
    common: dict[str, Any] = {
        "session_id": session_id,
        "source": {"type": "agent", "name": session_id},
        "timestamp": 1_000,
    }
    bodies: list[dict[str, Any]] = [
        {"kind": "tokens", "model": "m", "tokens": {"prompt": 10, "completion": 5}},
        {"kind": "tool", "tool_name": "t", "duration_ms": 5, "success": True},
        {"kind": "custom", "name": "n", "value": 0.5},
        {"kind": "subagent", "agent_type": "a", "sub_session_id": f"{session_id}-s", "duration_ms": 5, "success": True},
    ]
    return [{**common, **bodies[number % 4]} for number in range(count)]


async def test_recording(observed: Database, costs: list[BatchCost], unique: str) -> None:
    """US-2: one batch; five rows an entry (the row, its key, three indexes), and one for each total: two, or three."""
    store = D1UsageStore(observed)
    for entry in [*_entries(unique, 4), *_entries(unique, 4)]:
        await store.record_entry(entry)
    assert [cost.rows_written for cost in costs] == [7, 7, 7, 8, 7, 7, 7, 7]
    costs.clear()
    await store.record_entries(_entries(unique, 100))
    await store.record_entries(_entries(f"{unique}-2", 100))
    assert [cost.rows_written for cost in costs] == [500 + 4 + 4, 500 + 4 + 4 + 1]


async def test_repetitions(observed: Database, costs: list[BatchCost], unique: str) -> None:
    """US-2, US-3: A repeated entry writes nothing. A new entry beside it costs the same as alone."""
    store = D1UsageStore(observed)
    stored = await store.record_entries(_entries(unique, 40))
    costs.clear()
    await store.record_entries(stored)
    await store.record_entries([*stored, *_entries(unique, 2)])
    assert [cost.rows_written for cost in costs] == [0, 14]


async def test_a_save_with_usage(observed: Database, costs: list[BatchCost], unique: str) -> None:
    """US-23: A save with usage is one batch, and costs the rows of both."""
    store = D1StateStore(observed)
    state = AgentState(session_id=unique, agent_type="x")
    await store.save(state)
    costs.clear()
    await store.save(state)
    await store.save(state, usage=_entries(unique, 2))
    assert [cost.rows_written for cost in costs] == [1, 1 + 14]


async def test_rollups_cost_the_same_at_any_size(observed: Database, costs: list[BatchCost], filled: str) -> None:
    """US-6: a rollup of a hundred, ten thousand and a hundred thousand entries reads the same few rows, as does recording."""
    store = D1UsageStore(observed)
    reads: list[int] = []
    recordings: list[tuple[int, int]] = []
    before = 0
    for size in SIZES:
        await observed.batch([Statement(FILL, (filled, before, size))])
        await store.rebuild_rollups()
        costs.clear()
        rollup = await store.get_rollup(filled)
        await store.record_entry({**_entries(filled, 1)[0], "id": f"{filled}-extra"})
        reads.append(costs[0].rows_read)
        recordings.append((costs[1].rows_read, costs[1].rows_written))
        assert rollup.entry_count == size + (before > 0)
        assert rollup.tool_stats.total_calls == size // 4
        before = size
    assert max(reads) <= 1.1 * min(reads)
    assert max(reads) <= 4
    assert recordings[0][1] == 7
    assert max(read for read, _ in recordings) <= 24


async def test_a_tree_is_one_batch(observed: Database, costs: list[BatchCost], unique: str) -> None:
    """US-7: the rollup of a session with fifty sub-sessions is one batch, and reads a few rows for each."""
    store = D1UsageStore(observed)
    for number in range(50):
        session = f"{unique}-{number}"
        await store.record_entries(_entries(session, 20))
        await store.record_subagent(unique, agent_type="a", sub_session_id=session, duration_ms=1, success=True)
    costs.clear()
    rollup = await store.get_rollup(unique, include_sub_agents=True)
    assert rollup.entry_count == 50 + 50 * 20
    [cost] = costs
    assert cost.rows_written == 0
    assert cost.rows_read <= 51 * 10, cost


async def test_budgets(observed: Database, costs: list[BatchCost], unique: str) -> None:
    """US-17: a reservation writes its row and one for each scope; settling also deletes it; a refusal writes nothing."""
    store = D1UsageStore(observed)
    await store.set_budget(f"{unique}-t", 100, "tokens")
    await store.set_budget(unique, 100, "tokens", parent=f"{unique}-t")
    costs.clear()
    held = await store.reserve(unique, 60)
    assert held is not None
    assert await store.reserve(unique, 60) is None
    await store.settle(held, 50)
    await store.get_budget(unique)
    assert [cost.rows_written for cost in costs] == [3, 0, 6, 0]
    assert all(cost.rows_read <= 30 for cost in costs), costs
