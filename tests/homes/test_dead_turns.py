"""A turn whose Worker died, and nobody comes back: the home closes it by its own alarm."""

import asyncio
from itertools import pairwise

import pytest

from agents_store_cloudflare import AgentState, CloudflareStore
from agents_store_cloudflare.homes.dead_turns import DeadTurns
from agents_store_cloudflare.turns import TurnBlock
from tests.homes.worlds import HomeWorld
from tests.turns.faulty_worker import FaultyWorker


@pytest.fixture
def world() -> HomeWorld:
    return HomeWorld()


def _worker(world: HomeWorld) -> FaultyWorker:
    return FaultyWorker(world.database, world.streams, world.locks, world.clock, {}, sessions=world.sessions)


async def _dead_turn(world: HomeWorld, *, wait: float | None = None) -> None:
    """Begin a turn whose Worker dies after one commit."""
    worker = _worker(world)
    block = worker.store.turn(
        "ada", agent_type="t", turn_id="dead", auto_refresh=False, budget=("tenant", 100), wait=wait
    )
    turn = await block.__aenter__()
    await turn.write({"type": "text", "text": "half"})
    turn.record_tokens(model="m", prompt=7)
    await turn.commit()
    worker.die()


async def _entered(block: TurnBlock) -> None:
    await block.__aenter__()


async def _check_closed(world: HomeWorld, store: CloudflareStore) -> None:
    """Check that everything is as after a sweep."""
    calls = world.sessions.calls
    run = (await store.state_store.list_runs("ada"))[0]
    assert (run.run_id, run.status) == ("dead", "interrupted")
    async with store.stream_manager.create_reader("ada", follow=False) as reader:
        chunks = [chunk async for chunk in reader]
    assert [chunk["type"] for chunk in chunks] == ["text", "turn-failed"]
    assert not await store.locks.is_locked("ada")
    assert world.sessions.calls > calls
    assert await world.rows("SELECT turn_since FROM __agents_directory") == [[None]]
    budget = await store.usage_store.get_budget("tenant")
    assert budget is not None
    assert (budget.reserved, budget.settled) == (0, 7)


@pytest.mark.parametrize("directory", [True, False])
@pytest.mark.parametrize("sleeps", [True, False])
async def test_a_dead_turn_is_closed_without_a_visit(world: HomeWorld, *, directory: bool, sleeps: bool) -> None:
    """HM-16: When the lease of a dead turn has ended, the home's alarm ends its run, tells its readers and settles its budget."""
    store = await world.store(directory=directory)
    await store.usage_store.set_budget("tenant", 1_000, "tokens")
    await asyncio.create_task(_dead_turn(world))  # the loss of its lock cancels its task
    if sleeps:
        world.sessions.restart()
    calls = world.sessions.calls
    await world.pass_time(40)
    assert world.sessions.calls == calls
    if directory:
        await _check_closed(world, store)
    run = (await store.state_store.list_runs("ada"))[0]
    assert run.status == "interrupted"


async def test_a_turn_that_waited_for_the_lock(world: HomeWorld) -> None:
    """HM-16: A dead turn that entered in several calls is closed too."""
    store = await world.store()
    await store.usage_store.set_budget("tenant", 1_000, "tokens")
    lock = await store.locks.acquire("ada")
    assert lock is not None
    waiting = asyncio.create_task(_dead_turn(world, wait=20))
    await world.pass_time(2)
    await lock.release()
    await world.pass_time(2)
    await waiting
    await world.pass_time(40)
    await _check_closed(world, store)


@pytest.mark.parametrize("sleeps", [True, False])
async def test_a_dead_turn_that_could_not_be_closed_at_first(
    world: HomeWorld, monkeypatch: pytest.MonkeyPatch, *, sleeps: bool
) -> None:
    """HM-16: The home tries again by itself, after ever longer pauses, also when its object was evicted in between."""
    store = await world.store()
    await store.usage_store.set_budget("tenant", 1_000, "tokens")
    attempts, close = list[int](), DeadTurns._close  # pyright: ignore[reportPrivateUsage]

    async def fails_at_first(self: DeadTurns, home: str) -> None:
        attempts.append(world.clock.now_ms() // 1000)
        if len(attempts) <= 4:
            raise RuntimeError("the object's storage failed")
        await close(self, home)

    monkeypatch.setattr(DeadTurns, "_close", fails_at_first)
    await asyncio.create_task(_dead_turn(world))
    for _ in range(3_600 // 20):
        await world.pass_time(20)
        if sleeps and len(attempts) < 5:
            world.sessions.restart()
    pauses = [later - earlier for earlier, later in pairwise(attempts)]
    assert len(attempts) == 5
    assert pauses == sorted(pauses)
    assert 60 <= pauses[0] <= 80
    await _check_closed(world, store)


async def test_the_stream_of_a_dead_turn_has_another_name(world: HomeWorld) -> None:
    """HM-16: The home ends the run and frees the lock. It cannot write to another object, so a sweep tells the readers."""
    store = await world.store()
    await store.state_store.save(AgentState(session_id="ada", agent_type="t", stream_id="shared"))
    worker = _worker(world)
    block = worker.store.turn("ada", agent_type="t", auto_refresh=False)
    await asyncio.create_task(_entered(block))
    worker.die()
    await world.pass_time(100)
    assert (await store.state_store.list_runs("ada"))[0].status == "interrupted"
    assert not await store.locks.is_locked("ada")
    assert (await store.sweep_turns()).told == 1
    async with store.stream_manager.create_reader("shared", follow=False) as reader:
        assert [chunk["type"] async for chunk in reader] == ["turn-failed"]


async def test_a_living_turn_is_left_alone(world: HomeWorld) -> None:
    """HM-16: A turn whose lock is refreshed runs as long as it wants."""
    await world.store()
    worker = _worker(world)
    async with worker.store.turn("ada", agent_type="t", turn_id="alive") as turn:
        for _ in range(10):
            await world.pass_time(20)
        turn.add({"role": "assistant"})
    assert (await worker.store.state_store.list_runs("ada"))[0].status == "completed"


async def test_a_child_waits_for_a_sweep(world: HomeWorld) -> None:
    """HM-16: A child's lock and stream are elsewhere, so its next turn or a sweep closes its dead turn."""
    store = await world.store()
    await store.state_store.create_session("ada", agent_type="t")
    worker = _worker(world)
    block = worker.store.turn("ada//x", agent_type="t", parent_session_id="ada", auto_refresh=False)
    await asyncio.create_task(_entered(block))
    worker.die()
    await world.pass_time(100)
    assert (await store.state_store.list_runs("ada//x"))[0].status == "running"
    assert (await store.sweep_turns()).closed == ("ada//x",)


async def test_a_short_turn_sets_no_alarm_for_its_lease(world: HomeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """HM-13, HM-16: a turn of under a second sets the alarm that tells the directory, and no other; each setting is a written row."""
    store = await world.store()
    async with store.turn("ada", agent_type="t"):
        pass
    await world.pass_time(60)
    host, times, begun_ms = world.host("ada"), list[int](), world.clock.now_ms()
    set_alarm = host.set_alarm

    def counted(at_ms: int) -> None:
        times.append(at_ms)
        set_alarm(at_ms)

    monkeypatch.setattr(host, "set_alarm", counted)
    async with store.turn("ada", agent_type="t") as turn:
        turn.add({"role": "assistant"})
    await world.pass_time(60)
    of_the_turn = [
        at_ms - begun_ms for at_ms in times if at_ms - begun_ms < 3_600_000
    ]  # the stream's retention lasts days
    assert of_the_turn == [1_000]
