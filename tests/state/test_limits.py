"""Where values meet the limits of rows, pages and the ring of commits."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agents_store_cloudflare.contract.state.records import AgentState, Message, PromoteResult, StagedChange
from agents_store_cloudflare.database import MAX_VALUE_BYTES, Statement
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing import SqliteDatabase
from agents_store_cloudflare.testing.conformance.state import NASTY_VALUES
from tests.lengths import length

MOST_GROWTH = 1.4


@pytest.fixture
async def database() -> SqliteDatabase:
    database = SqliteDatabase()
    await run_migration(database)
    return database


@pytest.fixture
def store(database: SqliteDatabase) -> D1StateStore:
    return D1StateStore(database)


async def _largest_row(database: SqliteDatabase) -> int:
    """Return the bytes of the largest state row, as a sum of its columns."""
    [rows] = await database.batch(
        [
            Statement(
                "SELECT max(length(CAST(session_id || agent_type || status || custom_state || coalesce(output, '') || details"
                " || coalesce(stream_id, '') || commits AS BLOB))) AS bytes FROM __agents_states"
            )
        ]
    )
    return int(rows[0][0] or 0)


async def test_long_results_beside_the_largest_state(database: SqliteDatabase, store: D1StateStore) -> None:
    """ST-10, ST-12: forty promotions whose results have 30 KB of four-byte characters, in a state at its limit: the row stays
    below D1's limit, and the last result is repeated.
    """
    await store.create_session("s", agent_type="x", initial_state={"big": "x" * 1_770_000})
    keys = [f"{number} " + "🎉" * 100 for number in range(31)]
    values: list[Any] = [1, []]
    changes: list[Any] = [{"values": dict.fromkeys(keys, value), "arrayReplacements": []} for value in values]
    last: PromoteResult | None = None
    for number in range(40):
        for call, change in enumerate(changes):
            await store.stage_changes("s", "step", {"toolCallId": str(call), "timestamp": call, "mergeChanges": change})
        last = await store.promote_staging("s", "step", commit_id=f"promotion {number}")
        assert len(json.dumps(last.warnings, ensure_ascii=False).encode()) > 28_000
        assert await _largest_row(database) < MAX_VALUE_BYTES
    await store.stage_changes("s", "step", StagedChange(tool_call_id="later", patches=[{"op": "no such"}]))
    assert await store.promote_staging("s", "step", commit_id="promotion 39") == last
    assert await store.promote_staging("s", "step", commit_id="promotion 39") == last


async def test_a_fork_of_large_blocks(database: SqliteDatabase, store: D1StateStore) -> None:
    """ST-12, ST-33: Joined blocks never make a row above D1's limit, whatever their sizes and characters."""
    state = AgentState(session_id="s", agent_type="x")
    for size in (200_000, 1_790_000, 60_000, 10, 130_000, 130_000, 1_790_000, 255_000, 255_000, 7, 7):
        for fill in ("x" * size, "🎉" * (size // 4)):
            state.messages.append({"role": "user", "content": fill})
            await store.save(state)
    kept = await store.save_checkpoint("s")
    forked = await store.fork_session("s", kept.id, "fork")
    assert forked.messages == state.messages
    [sizes, counts] = await database.batch(
        [
            Statement("SELECT max(length(CAST(body AS BLOB))) AS bytes FROM __agents_message_blocks"),
            Statement("SELECT count(*) AS blocks FROM __agents_message_blocks GROUP BY id / 16777216 ORDER BY 1"),
        ]
    )
    assert int(sizes[0][0] or 0) < MAX_VALUE_BYTES
    assert int(counts[0][0] or 0) < 22


@pytest.mark.parametrize("count", range(len(NASTY_VALUES) + 1))
async def test_cutting_between_nasty_values(store: D1StateStore, count: int) -> None:
    """ST-3, ST-30, ST-32, ST-33: A block of every special value is cut, restored and forked at every place without a changed character."""
    messages: list[Any] = [{"role": "user", "content": value, "key\u2028\x00\n": [value]} for value in NASTY_VALUES]
    await store.create_session("s", agent_type="x")
    await store.append_messages("s", messages)
    await store.truncate_messages("s", count)
    assert repr((await store.get_messages("s")).messages) == repr(messages[:count])
    kept = await store.save_checkpoint("s")
    await store.append_messages("s", messages)
    forked = await store.fork_session("s", kept.id, "fork")
    assert repr(forked.messages) == repr(messages[:count])
    restored = await store.restore_checkpoint("s", kept.id)
    assert repr(restored.messages) == repr(messages[:count])


def _message_of(size_bytes: int, text: str) -> Message:
    empty: Message = {"role": "user", "content": ""}
    padding = size_bytes - len(json.dumps(empty, separators=(",", ":")))
    return {"role": "user", "content": text.ljust(padding)}


async def test_growth(tmp_path: Path) -> None:
    """ST-15: turns of two 512-byte messages and a checkpoint each: the file grows by at most 1.4 times the bytes of the messages."""
    turns, path = length(500, 2_000), tmp_path / "agents.sqlite"
    database = SqliteDatabase(path)
    await run_migration(database)
    store = D1StateStore(database)
    state = await store.create_session("session", agent_type="assistant", initial_state={"plan": ["a", "b"]})
    before = path.stat().st_size
    for turn in range(turns):
        state.messages += [_message_of(512, f"question {turn}"), _message_of(512, f"answer {turn}")]
        state.step_count = turn
        await store.save_checkpoint("session", state)
    growth = path.stat().st_size - before
    assert growth <= MOST_GROWTH * turns * 2 * 512, growth / (turns * 2 * 512)


async def test_the_ring_keeps_order(store: D1StateStore) -> None:
    """ST-10: The last 32 writes of any kind are remembered. An older one is not."""
    await store.create_session("s", agent_type="x")
    counts = [await store.increment_step_count("s", commit_id=f"c{number}") for number in range(40)]
    assert all(after == before + 1 for before, after in pairwise(counts))
    for number in range(8, 40):
        assert await store.increment_step_count("s", commit_id=f"c{number}") == counts[number]
    assert await store.increment_step_count("s", commit_id="c7") == 41
