"""What the calls of the state store cost, by D1's own count: (rows read, rows written) of each batch, which is a round trip."""

from collections.abc import Awaitable
from typing import Any, TypeAlias

import pytest

from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.contract.state.records import AgentState, Message, StagedChange, SubSessionRef
from agents_store_cloudflare.database import BatchCost
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.state import D1StateStore

Costs: TypeAlias = list[tuple[int, int]]

BLOCK = 20


class Counted:
    """A store that counts each call."""

    def __init__(self, binding: Any) -> None:
        self._costs: list[BatchCost] = []
        self.store = D1StateStore(as_database(binding, observer=self._costs.append))

    async def costs(self, call: Awaitable[object]) -> Costs:
        """Return the rows read and written by each batch of one call."""
        self._costs.clear()
        await call
        return [(cost.rows_read, cost.rows_written) for cost in self._costs]


@pytest.fixture
def counted(env: Any, unique: str) -> Counted:
    from pyodide.ffi import run_sync

    run_sync(run_migration(env.AGENT_DB))
    counted = Counted(env.AGENT_DB)
    run_sync(_neighbour(counted.store, f"!{unique}"))
    return counted


async def _neighbour(store: D1StateStore, session_id: str) -> None:
    """Make a session before or after the counted ones. A search that ends at another session's row reads that row too."""
    state = AgentState(session_id=session_id, agent_type="x", messages=_messages(1), expires_at=2**50)
    state.parent_session_id = f"{session_id}-parent"
    await store.save_checkpoint(session_id, state)
    await store.stage_changes(session_id, "s", StagedChange(tool_call_id="t"))
    await store.start_run(session_id, "r")
    await store.add_sub_session_refs(session_id, [SubSessionRef(sub_session_id="a", agent_type="x")])


def _messages(count: int) -> list[Message]:
    return [{"role": "user", "content": f"message {n}"} for n in range(count)]


async def _session(store: D1StateStore, session_id: str, count: int) -> AgentState:
    """Make a session with this number of messages, in blocks of twenty."""
    state = await store.create_session(session_id, agent_type="x", initial_state={"n": 0})
    for _ in range(count // BLOCK):
        await store.append_messages(session_id, _messages(BLOCK))
    return await store.load_state(session_id, required=True, messages="none") if count else state


async def test_saves(counted: Counted, unique: str) -> None:
    """ST-7, ST-20: two rows written for any number of new messages that fit a block, one more where the fence rises or a
    checkpoint is kept.
    """
    store, state = counted.store, await _session(counted.store, unique, 200)
    await _neighbour(store, f"{unique}~")
    found: dict[str, Costs] = {}
    for count in (0, 1, 20, 500):
        state.messages += _messages(count)
        found[f"save of {count}"] = await counted.costs(store.save(state))
    state.messages += _messages(20)
    found["save of 20 with a higher token"] = await counted.costs(store.save(state, fencing_token=2))
    state.messages += _messages(20)
    found["save of 20 with the same token"] = await counted.costs(store.save(state, fencing_token=2))
    state.messages += _messages(20)
    found["save of 20 with a checkpoint"] = await counted.costs(store.save_checkpoint(unique, state))
    found["append of 20"] = await counted.costs(store.append_messages(unique, _messages(20)))
    found["status"] = await counted.costs(store.update_status(unique, "running"))
    found["step count"] = await counted.costs(store.increment_step_count(unique))
    found["truncation within a block"] = await counted.costs(store.truncate_messages(unique, 795))
    assert found == {
        "save of 0": [(3, 1)],
        "save of 1": [(9, 2)],
        "save of 20": [(9, 2)],
        "save of 500": [(8, 2)],
        "save of 20 with a higher token": [(8, 3)],
        "save of 20 with the same token": [(10, 2)],
        "save of 20 with a checkpoint": [(16, 3)],
        "append of 20": [(10, 2)],
        "status": [(4, 1)],
        "step count": [(4, 1)],
        "truncation within a block": [(95, 2)],
    }


async def test_reads(counted: Counted, unique: str) -> None:
    """ST-13, ST-14, ST-20: The cost of a read depends on the size of its result, not on its place in the history."""
    store = counted.store
    await _session(store, unique, 10_100)
    await _session(store, f"{unique}-50", 60)
    await _session(store, f"{unique}-200", 200)
    await _neighbour(store, f"{unique}~")
    found = {
        "load of 200": await counted.costs(store.load_state(f"{unique}-200")),
        "page of 50 at 10": await counted.costs(store.get_messages(unique, offset=10)),
        "page of 50 at 10,000": await counted.costs(store.get_messages(unique, offset=10_000)),
        "last 50 of 10,100": await counted.costs(store.load_state(unique, messages=50)),
        "last 50 of 60": await counted.costs(store.load_state(f"{unique}-50", messages=50)),
        "without messages": await counted.costs(store.load_state(unique, messages="none")),
        "exists": await counted.costs(store.exists(unique)),
        "list of sessions by prefix": await counted.costs(store.list_sessions(prefix=f"{unique}-", limit=2)),
        "list of the newest sessions": await counted.costs(store.list_sessions(limit=2)),
    }
    assert found == {
        "load of 200": [(5, 0)],
        "page of 50 at 10": [(5, 0)],
        "page of 50 at 10,000": [(5, 0)],
        "last 50 of 10,100": [(5, 0)],
        "last 50 of 60": [(5, 0)],
        "without messages": [(1, 0)],
        "exists": [(1, 0)],
        "list of sessions by prefix": [(5, 0)],
        "list of the newest sessions": [(3, 0)],
    }
    [(rows_read, rows_written)] = await counted.costs(store.delete_session(unique))
    assert rows_written == 28  # 26 blocks of up to 16 KB, the session, and the row that outlives it
    assert rows_read < 500  # most of them for the commits that are carried over, at most 32


async def test_checkpoints(counted: Counted, unique: str) -> None:
    """ST-15, ST-20, ST-31 to ST-34: a checkpoint is two rows; a fork writes few, however small the source's blocks are."""
    store, state = counted.store, await _session(counted.store, unique, 200)
    await _session(store, f"{unique}-2000", 2_000)
    await _neighbour(store, f"{unique}~")
    found: dict[str, Costs] = {"first": await counted.costs(store.save_checkpoint(unique))}
    found["unchanged custom state"] = await counted.costs(store.save_checkpoint(unique))
    state.custom_state["n"] = 1
    await store.save(state)
    found["changed custom state"] = await counted.costs(store.save_checkpoint(unique))
    kept = await store.save_checkpoint(unique)
    long = await store.save_checkpoint(f"{unique}-2000")
    found["get"] = await counted.costs(store.get_checkpoint(unique, kept.id))
    found["list of 4"] = await counted.costs(store.list_checkpoints(unique))
    found["list of 4, bare"] = await counted.costs(store.list_checkpoints(unique, include_state=False))
    found["fork of 200"] = await counted.costs(store.fork_session(unique, kept.id, f"{unique}-f"))
    found["fork of 2,000"] = await counted.costs(store.fork_session(f"{unique}-2000", long.id, f"{unique}-f2"))
    await store.append_messages(unique, _messages(20))
    found["restore over 20 messages"] = await counted.costs(store.restore_checkpoint(unique, kept.id))
    found["prune of 3"] = await counted.costs(store.prune_checkpoints(unique, keep_last=1))
    assert found == {
        "first": [(9, 2)],
        "unchanged custom state": [(11, 2)],
        "changed custom state": [(11, 2)],
        "get": [(7, 0)],
        "list of 4": [(13, 0)],
        "list of 4, bare": [(6, 0)],
        "fork of 200": [(29, 4)],
        "fork of 2,000": [(48, 4)],
        "restore over 20 messages": [(247, 2)],
        "prune of 3": [(79, 4)],
    }


async def test_steps(counted: Counted, unique: str) -> None:
    """ST-20, ST-35 to ST-40: one batch a call; a promotion and a merge are two, one of them a read."""
    store = counted.store
    await store.create_session(unique, agent_type="x", initial_state={"list": []})
    await _neighbour(store, f"{unique}~")
    found: dict[str, Costs] = {}
    for step in ("a", "b"):
        for number in range(5):
            change = StagedChange(tool_call_id=str(number), merge_changes={"list": [number]})
            found["stage"] = await counted.costs(store.stage_changes(unique, step, change))
    found["promotion of 5"] = await counted.costs(store.promote_staging(unique, "a"))
    state = await store.load_state(unique, required=True)
    state.messages += _messages(2)
    found["save and promotion of 5, checkpoint"] = await counted.costs(
        store.save_state_and_promote_staging(unique, state, step_id="b")
    )
    found["promotion of nothing"] = await counted.costs(store.promote_staging(unique, "a"))
    found["merge"] = await counted.costs(store.merge_custom_state(unique, {"n": 1}))
    found["start of a run"] = await counted.costs(store.start_run(unique, "r1"))
    found["end of a run"] = await counted.costs(store.update_run(unique, "r1", status="completed"))
    found["current run"] = await counted.costs(store.get_current_run(unique))
    refs = [SubSessionRef(sub_session_id=name, agent_type="x") for name in ("a", "b", "c")]
    found["3 references"] = await counted.costs(store.add_sub_session_refs(unique, refs))
    found["one reference changed"] = await counted.costs(store.update_sub_session_ref(unique, "a", status="failed"))
    found["compare and set"] = await counted.costs(store.compare_and_set_status(unique, ["active"], "running"))
    assert found == {
        "stage": [(4, 2)],
        "promotion of 5": [(24, 0), (32, 6)],
        "save and promotion of 5, checkpoint": [(25, 0), (42, 8)],
        "promotion of nothing": [(16, 0), (1, 0)],
        "merge": [(14, 0), (3, 1)],
        "start of a run": [(7, 3)],
        "end of a run": [(10, 2)],
        "current run": [(1, 0)],
        "3 references": [(14, 4)],
        "one reference changed": [(7, 2)],
        "compare and set": [(5, 1)],
    }


async def test_growth(env: Any, unique: str) -> None:
    """ST-15: turns of two 512-byte messages and a checkpoint each: D1 grows by at most 1.4 times the bytes of the messages."""
    await run_migration(env.AGENT_DB)
    store, turns = D1StateStore(env.AGENT_DB), 2_000
    state = await store.create_session(unique, agent_type="assistant", initial_state={"plan": ["a", "b"]})
    before = await _size_bytes(env)
    for turn in range(turns):
        # 28 characters of JSON stand around the text.
        said: list[Message] = [
            {"role": "user", "content": f"{name} {turn}".ljust(484)} for name in ("asked", "answered")
        ]
        state.messages += said
        state.step_count = turn
        await store.save_checkpoint(unique, state)
    growth = await _size_bytes(env) - before
    assert growth <= 1.4 * turns * 2 * 512, growth / (turns * 2 * 512)


async def _size_bytes(env: Any) -> int:
    """Return the size of the whole database, as D1 reports it with every result."""
    result = await env.AGENT_DB.prepare("SELECT 1").run()
    return int(result.meta.size_after)
