"""Tasks that share a turn, e.g. tools that run at the same time and commit what they did."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from agents_store_cloudflare import (
    CloudflareStore,
    InvalidArgumentError,
    StaleStateError,
    TurnError,
    create_cloudflare_store,
    run_migration,
)
from agents_store_cloudflare.database import Row, Statement
from agents_store_cloudflare.durable_streams import StreamObject
from agents_store_cloudflare.locks.lock_object import LockObject
from agents_store_cloudflare.testing import LocalObjects, SqliteDatabase


class HeldDatabase:
    """A database whose next batches wait until somebody lets them go."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database
        self._gates: list[asyncio.Event] = []
        self.arrived = asyncio.Event()

    def hold(self, batches: int) -> list[asyncio.Event]:
        """Gates for the next batches; a batch goes on when its gate is set."""
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
    """TU-3: two tasks commit at once; what is recorded between their replies is stored too."""
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
    """TU-3: a commit that comes while another task suspends the turn stores nothing, so it raises."""
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
    """TU-3: what the last commit cannot take any more is refused, not lost."""
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
    """TU-3: where the last commit was refused, the turn takes messages again and ends with them."""
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
    """TU-5: the block waits for the commit of another task; then the run is failed, and the lock free."""
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
    """TU-3: usage that would carry the turn's sum beyond 2**53 - 1 is refused by name; the turn goes on and is settled."""
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
