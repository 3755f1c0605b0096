"""Tasks that share a turn, e.g. tools that run at the same time and commit what they did."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from agents_store_cloudflare import (
    CloudflareStore,
    D1StateError,
    InvalidArgumentError,
    StaleStateError,
    TurnError,
    create_cloudflare_store,
    run_migration,
)
from agents_store_cloudflare.database import Row, Statement, retry
from agents_store_cloudflare.durable_streams import StreamObject
from agents_store_cloudflare.locks.lock_object import LockObject
from agents_store_cloudflare.testing import LocalObjects, SqliteDatabase
from agents_store_cloudflare.testing.faults import FaultyDatabase
from agents_store_cloudflare.turns import Turn

UNKNOWN = "D1_ERROR: something that this code does not know"
"""A failure whose outcome nobody knows, and which is not sent again."""


class HeldDatabase:
    """A database whose next batches wait until the test releases them."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database
        self._gates: list[asyncio.Event] = []
        self.arrived = asyncio.Event()

    def hold(self, batches: int) -> list[asyncio.Event]:
        """Return gates for the next batches. A batch goes on when its gate is set."""
        self._gates = [asyncio.Event() for _ in range(batches)]
        return list(self._gates)

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        if self._gates:
            self.arrived.set()
            await self._gates.pop(0).wait()
        return await self._database.batch(statements)


@pytest.fixture
async def database() -> HeldDatabase:
    database = SqliteDatabase()
    await run_migration(database)
    return HeldDatabase(database)


@pytest.fixture
def store(database: HeldDatabase) -> CloudflareStore:
    return create_cloudflare_store(db=database, streams=LocalObjects(StreamObject), locks=LocalObjects(LockObject))


async def test_usage_recorded_between_two_commits(database: HeldDatabase, store: CloudflareStore) -> None:
    """TU-3: When two tasks commit at once, usage recorded between their replies is stored too."""
    async with store.turn("s", agent_type="a") as turn:
        turn.record_tokens(model="m", prompt=1)
        first_gate, second_gate = database.hold(2)
        first = asyncio.ensure_future(turn.commit())
        await database.arrived.wait()
        second = asyncio.ensure_future(turn.commit())
        await _settled()
        first_gate.set()
        await first
        turn.record_tokens(model="m", prompt=10)
        second_gate.set()
        await second
        turn.record_tokens(model="m", prompt=100)
    rollup = await store.usage_store.get_rollup("s")
    assert rollup is not None
    assert rollup.tokens.prompt == 111


@pytest.mark.parametrize("late", ["commit", "suspend"])
async def test_a_change_after_another_task_has_suspended(
    database: HeldDatabase, store: CloudflareStore, late: str
) -> None:
    """TU-3: A commit during another task's suspension stores nothing, so it raises."""
    async with store.turn("s", agent_type="a") as turn:
        [gate] = database.hold(1)
        suspending = asyncio.ensure_future(turn.suspend({"by": "first"}))
        await database.arrived.wait()
        another = asyncio.ensure_future(turn.commit() if late == "commit" else turn.suspend({"by": "second"}))
        await _settled()
        gate.set()
        await suspending
        with pytest.raises(TurnError, match="over"):
            await another
        assert turn.state.suspension_context == {"by": "first"}
    state = await store.state_store.load_state("s", required=True)
    assert (state.status, state.suspension_context, state.messages) == ("suspended", {"by": "first"}, [])


async def test_what_comes_during_the_last_commit(database: HeldDatabase, store: CloudflareStore) -> None:
    """TU-3: A change that the last commit cannot include is refused, not lost."""
    async with store.turn("s", agent_type="a") as turn:
        [gate] = database.hold(1)
        suspending = asyncio.ensure_future(turn.suspend())
        await database.arrived.wait()
        with pytest.raises(TurnError, match="over"):
            turn.add({"role": "tool", "content": "late"})
        with pytest.raises(TurnError, match="over"):
            turn.record_tokens(model="m", prompt=1)
        with pytest.raises(TurnError, match="over"):
            await turn.write({"type": "text", "text": "late"})
        gate.set()
        await suspending


async def test_a_turn_goes_on_after_a_refused_suspension(store: CloudflareStore) -> None:
    """TU-3: After a refused last commit, the turn accepts messages again and ends with them."""
    async with store.turn("s", agent_type="a") as turn:
        turn.state.custom_state["mine"] = 1
        await store.state_store.merge_custom_state("s", {"mine": 2})
        with pytest.raises(StaleStateError):
            await turn.suspend()
        del turn.state.custom_state["mine"]
        turn.add({"role": "tool", "content": "later"})
    state = await store.state_store.load_state("s", required=True)
    assert (state.status, len(state.messages)) == ("active", 1)


async def test_a_block_that_raises_beside_a_commit(database: HeldDatabase, store: CloudflareStore) -> None:
    """TU-5: The block waits for another task's commit. Then the run is failed and the lock is free."""
    tasks: list[asyncio.Future[None]] = []

    async def failing() -> None:
        async with store.turn("s", agent_type="a") as turn:
            [gate] = database.hold(1)
            tasks.append(asyncio.ensure_future(turn.commit()))
            await database.arrived.wait()
            asyncio.get_running_loop().call_soon(gate.set)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await failing()
    await tasks[0]
    [run] = await store.state_store.list_runs("s")
    assert run.status == "failed"
    assert store.lock_manager is not None
    assert await store.lock_manager.get_holder("s") is None


async def test_more_than_a_budget_can_count(store: CloudflareStore) -> None:
    """TU-3: Usage that would raise the turn's sum over 2**53 - 1 is refused by name. The turn goes on and is settled."""
    await store.usage_store.set_budget("b", 2**53 - 1, "tokens")
    async with store.turn("s", agent_type="a", budget=("b", 10)) as turn:
        turn.record_tokens(model="m", prompt=2**52)
        with pytest.raises(InvalidArgumentError, match=r"2\*\*53"):
            turn.record_tokens(model="m", prompt=2**52)
        assert turn.spent == 2**52
    [run] = await store.state_store.list_runs("s")
    assert run.status == "completed"


async def _settled() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def _held_commit(database: HeldDatabase, turn: Turn, act: Callable[[], object], *, batches: int = 1) -> None:
    """Commit; while the last of so many batches is on its way, another task acts."""
    *others, gate = database.hold(batches)
    for each in others:
        each.set()
    committing = asyncio.ensure_future(turn.commit())
    await database.arrived.wait()
    await _settled()
    act()
    gate.set()
    await committing


async def test_a_change_while_others_are_taken_up(database: HeldDatabase, store: CloudflareStore) -> None:
    """TU-3: a change that comes while a commit is sent again goes with the next commit, also where that one meets others too."""
    async with store.turn("s", agent_type="a") as turn:
        await store.state_store.merge_custom_state("s", {"first": 1})
        await _held_commit(database, turn, lambda: turn.state.custom_state.update(late=1), batches=3)
        await store.state_store.merge_custom_state("s", {"second": 2})
    state = await store.state_store.load_state("s", required=True)
    assert state.custom_state == {"first": 1, "late": 1, "second": 2}


@pytest.mark.parametrize("key", ["late", "list"])
async def test_a_change_while_a_step_is_promoted(database: HeldDatabase, store: CloudflareStore, key: str) -> None:
    """TU-3: a change that comes while a commit promotes a step is kept; where both change one key, the next commit is refused."""
    await store.state_store.create_session("s", agent_type="a", initial_state={"list": [1], "same": 0})
    change = {"toolCallId": "c", "mergeChanges": {"list": [2]}}
    await store.state_store.stage_changes("s", "step", change)
    block = store.turn("s", agent_type="a", step_id="step")
    turn = await block.__aenter__()
    await _held_commit(database, turn, lambda: turn.state.custom_state.update({key: 9}), batches=2)
    if key == "list":
        with pytest.raises(StaleStateError):
            await block.__aexit__(None, None, None)
    else:
        await block.__aexit__(None, None, None)
    state = await store.state_store.load_state("s", required=True)
    assert state.custom_state == {"list": [1, 2], "same": 0, **({"late": 9} if key == "late" else {})}


async def test_a_change_while_chunks_are_flushed(store: CloudflareStore) -> None:
    """TU-3: a commit stores the state as it was when its turn came; what comes during its flush goes with the next commit."""
    async with store.turn("s", agent_type="a") as turn:
        await turn.write({"type": "text", "text": "x"})
        turn.state.custom_state["early"] = 1
        committing = asyncio.ensure_future(turn.commit())
        await asyncio.sleep(0)
        turn.state.custom_state["late"] = 1
        turn.add({"role": "user", "content": "late"})
        turn.record_tokens(model="m", prompt=1)
        await committing
        stored = await store.state_store.load_state("s", required=True)
        assert (stored.custom_state, stored.messages) == ({"early": 1}, [])
        assert await store.usage_store.get_entry_count("s") == 0
    stored = await store.state_store.load_state("s", required=True)
    assert (stored.custom_state, len(stored.messages)) == ({"early": 1, "late": 1}, 1)
    assert await store.usage_store.get_entry_count("s") == 1


@pytest.mark.parametrize("retried_by", ["the client", "the turn"])
async def test_a_promotion_without_a_reply(retried_by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """TU-3: what a step has promoted stays, where the reply to its commit was lost and the turn commits again."""

    async def no_pause(_attempt: int) -> None:
        """Send again at once."""

    monkeypatch.setattr(retry, "pause_before_retry", no_pause)
    database = FaultyDatabase(SqliteDatabase())
    await run_migration(database)
    store = create_cloudflare_store(db=database, streams=LocalObjects(StreamObject), locks=LocalObjects(LockObject))
    await store.state_store.create_session("s", agent_type="a", initial_state={"list": [1]})
    change = {"toolCallId": "c", "mergeChanges": {"list": [2]}}
    await store.state_store.stage_changes("s", "step", change)
    async with store.turn("s", agent_type="a", step_id="step") as turn:
        turn.add({"role": "user", "content": "one"})
        database.leave_alone(1)  # the read of the staged changes
        if retried_by == "the client":
            database.fail("after")
            await turn.commit()
        else:
            database.fail("after", message=UNKNOWN)
            with pytest.raises(D1StateError):
                await turn.commit()
            await turn.commit()
        turn.state.custom_state["mine"] = True
        turn.add({"role": "user", "content": "two"})
    state = await store.state_store.load_state("s", required=True)
    assert state.custom_state == {"list": [1, 2], "mine": True}
    assert [message.get("content") for message in state.messages] == ["one", "two"]
