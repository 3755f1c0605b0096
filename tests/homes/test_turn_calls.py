"""The calls of a turn over homes: one to enter, one for each commit, and its flushes."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from agents_store_cloudflare import (
    AgentsStoreError,
    CloudflareStore,
    LockLostError,
    SessionOptions,
    StagedChange,
    StaleFencingTokenError,
    StaleStateError,
    StreamClosedError,
    StreamOptions,
    create_cloudflare_store,
)
from agents_store_cloudflare.database import Row
from agents_store_cloudflare.durable_streams import StreamObject
from agents_store_cloudflare.homes.session_object import SessionObject
from agents_store_cloudflare.locks.lock_object import LockObject
from agents_store_cloudflare.testing import LocalObjects, SqliteDatabase
from tests.homes.worlds import HomeWorld
from tests.turns.faulty_worker import FaultyWorker
from tests.turns.network import FarDatabase, FarObjects, Network


@pytest.fixture
async def network() -> Network:
    return Network()


@pytest.fixture
async def store(network: Network) -> CloudflareStore:
    database = FarDatabase(network)
    store = create_cloudflare_store(
        db=database,
        streams=FarObjects(network, LocalObjects(StreamObject)),
        locks=FarObjects(network, LocalObjects(LockObject)),
        sessions=FarObjects(network, LocalObjects(lambda host: SessionObject(host, database=lambda: database.near))),
        session_options=SessionOptions(check_db=False),
        stream_options=StreamOptions(buffer_size=10),
    )

    async def prepare() -> None:
        await store.migrate()
        await store.usage_store.set_budget("tenant", 1_000, "tokens")
        await _turn(store)
        staged = StagedChange(tool_call_id="c")
        await store.state_store.stage_changes("ada", "step", staged)

    await network.run(prepare())
    return store


async def _turn(store: CloudflareStore) -> None:
    async with store.turn("ada", agent_type="t", messages=[{"role": "user", "content": "?"}]) as turn:
        await turn.write({"type": "text", "text": "hello"})
        turn.add({"role": "assistant", "content": "hello"})
        turn.record_tokens(model="m", prompt=1, completion=1)


async def _silent(store: CloudflareStore) -> None:
    async with store.turn("ada", agent_type="t", stream=False) as turn:
        turn.add({"role": "assistant", "content": "hello"})


async def _with_flushes(store: CloudflareStore) -> None:
    async with store.turn("ada", agent_type="t") as turn:
        for _ in range(35):
            await turn.write({"type": "text", "text": "hello"})


async def _budgeted(store: CloudflareStore) -> None:
    async with store.turn("ada", agent_type="t", budget=("tenant", 10)) as turn:
        await turn.write({"type": "text", "text": "hello"})
        turn.record_tokens(model="m", prompt=1, completion=1)


async def _staged(store: CloudflareStore) -> None:
    async with store.turn("ada", agent_type="t", step_id="step") as turn:
        await turn.write({"type": "text", "text": "hello"})


async def _commits_twice(store: CloudflareStore) -> None:
    async with store.turn("ada", agent_type="t") as turn:
        await turn.write({"type": "text", "text": "one"})
        await turn.commit()
        await turn.write({"type": "text", "text": "two"})


async def _of_a_child(store: CloudflareStore) -> None:
    async with store.turn("ada//child", agent_type="t", parent_session_id="ada") as turn:
        await turn.write({"type": "text", "text": "one"})


@pytest.mark.parametrize(
    ("turn", "waits"),
    [
        (_turn, 2),
        (_silent, 2),
        (_with_flushes, 5),  # three flushes; the last five chunks go with the commit
        (_budgeted, 3),  # reserved in D1 before
        (_staged, 3),  # a read before the commit
        (_commits_twice, 3),
        (_of_a_child, 5),  # its lock and its stream have objects of their own, as in D1
    ],
    ids=lambda each: getattr(each, "__name__", str(each)),
)
async def test_waits_in_a_row(
    network: Network, store: CloudflareStore, turn: Callable[[CloudflareStore], Awaitable[None]], waits: int
) -> None:
    """HM-4: A turn waits twice, and once for each flush. A budget, staged changes or a further commit cost one wait more each."""
    assert await network.run(turn(store)) == waits


async def test_calls_of_a_turn(network: Network, store: CloudflareStore) -> None:
    """HM-4: A turn is two calls, background calls included."""

    async def counted() -> None:
        with store.meter() as meter:
            await _turn(store)
        assert (meter.d1.round_trips, meter.objects.calls) == (0, 2)

    await network.run(counted())


def _rows(world: HomeWorld) -> dict[str, list[Row]]:
    """Return everything that a commit changes, and the lock."""
    sql = world.sql("ada")
    return {
        table: sql.exec(f"SELECT * FROM {table}")
        for table in ("__agents_states", "__agents_message_blocks", "__agents_checkpoints", "__agents_runs", "blocks")
    }


async def _ended_by_others(store: CloudflareStore) -> None:
    await store.stream_manager.end_stream("ada", {"by": "others"})


async def _edited_by_others(store: CloudflareStore) -> None:
    await store.state_store.update_status("ada", "edited")


async def _refused_turn(
    world: HomeWorld, store: CloudflareStore, others: Callable[[CloudflareStore], Awaitable[None]]
) -> None:
    async with store.turn("ada", agent_type="t") as turn:
        await turn.write({"type": "text", "text": "hello"})
        turn.add({"role": "assistant", "content": "hello"})
        turn.record_tokens(model="m", prompt=1)
        turn.state.status = "mine"
        await others(store)
        before = _rows(world)
        try:
            await turn.commit()
        except AgentsStoreError:
            assert _rows(world) == before
            raise


@pytest.mark.parametrize(
    ("others", "refusal"), [(_ended_by_others, StreamClosedError), (_edited_by_others, StaleStateError)]
)
async def test_a_refused_commit_leaves_nothing(
    others: Callable[[CloudflareStore], Awaitable[None]], refusal: type[AgentsStoreError]
) -> None:
    """HM-4: If the state or the stream refuses its part of a commit, no part of the commit is stored."""
    world = HomeWorld()
    store = await world.store()
    async with store.turn("ada", agent_type="t"):
        pass
    with pytest.raises(refusal):
        await _refused_turn(world, store, others)
    run = (await store.state_store.list_runs("ada"))[0]
    assert run.status == "failed"
    assert not await store.locks.is_locked("ada")


async def test_a_holder_whose_lease_is_over_changes_nothing() -> None:
    """HM-6: After the next turn has entered, the old holder of the lock stores no message, no chunk and no usage."""
    world = HomeWorld()
    await world.store()
    paused = FaultyWorker(world.database, world.streams, world.locks, world.clock, {}, sessions=world.sessions)
    other = FaultyWorker(world.database, world.streams, world.locks, world.clock, {}, sessions=world.sessions)
    block = paused.store.turn("ada", agent_type="t", auto_refresh=False)
    turn = await block.__aenter__()
    await turn.write({"type": "text", "text": "paused"})
    turn.add({"role": "assistant", "content": "paused"})
    turn.record_tokens(model="m", prompt=7)
    paused.stop_clock()
    await world.pass_time(40)
    await asyncio.create_task(_turn(other.store))
    spent = (await other.store.usage_store.get_rollup("ada")).tokens.total
    before = _rows(world)
    with pytest.raises((StaleFencingTokenError, LockLostError)):
        await turn.commit()
    error = StaleFencingTokenError("ada", expected=2, actual=1)
    with suppress(AgentsStoreError):
        await block.__aexit__(type(error), error, None)
    assert _rows(world) == before
    assert (await other.store.usage_store.get_rollup("ada")).tokens.total == spent


async def test_a_home_from_before_keeps_its_lock_apart() -> None:
    """HM-3, HM-4: If lock and stream have objects of their own, a turn makes the same calls as in D1."""
    world = HomeWorld()
    store = await world.store(home_streams=False)
    async with store.turn("ada", agent_type="t") as turn:
        await turn.write({"type": "text"})
    with store.meter() as meter:
        async with store.turn("ada", agent_type="t") as turn:
            await turn.write({"type": "text"})
    assert meter.objects.calls == 7
    assert world.locks.calls > 0


async def test_a_large_first_message_comes_in_parts() -> None:
    """HM-4, HM-11: The parts of a large message are sent before. The call that enters is still one transaction."""
    world = HomeWorld()
    store = await world.store()
    large = [{"role": "user", "content": "x" * 1_500_000} for _ in range(4)]
    async with store.turn("ada", agent_type="t", messages=large) as turn:
        assert len(turn.messages) == 4
        turn.add(*large)
    assert (await store.state_store.get_messages("ada")).total == 8


async def test_the_background_of_a_turn() -> None:
    """HM-7, HM-13: a turn of ten seconds is three batches of D1 in the background; bench/capacity.py counts with them."""
    world = HomeWorld()
    store = await world.store()
    for batches in (None, 3):
        before = world.d1.batches
        async with store.turn("ada", agent_type="t", auto_refresh=False) as turn:
            await turn.write({"type": "text"})
            await world.pass_time(10)
            turn.record_tokens(model="m", prompt=1)
        await world.pass_time(60)
        assert batches in (None, world.d1.batches - before)


class _Lines(LocalObjects):
    """Homes whose namespace keeps lines. It notes which calls follow a word that they are the last."""

    def __init__(self) -> None:
        database = SqliteDatabase()
        super().__init__(lambda host: SessionObject(host, database=lambda: database))
        self.asked: list[str] = []

    def hang_up(self, name: str) -> None:
        self.asked.append(f"hang up {name}")

    def open_no_line(self, name: str) -> None:
        self.asked.append(f"no line {name}")

    async def call(self, name: str, request: str) -> str:
        self.asked.append("call")
        return await super().call(name, request)


async def test_the_last_call_of_a_turn_opens_no_line() -> None:
    """HM-4, SM-39: Only the commit that ends a turn is announced as its last call: others may follow a checkpoint."""
    sessions = _Lines()
    database = SqliteDatabase()
    store = create_cloudflare_store(
        db=database,
        streams=LocalObjects(StreamObject),
        locks=LocalObjects(LockObject),
        sessions=sessions,
        session_options=SessionOptions(check_db=False),
    )
    await store.migrate()
    sessions.asked.clear()
    async with store.turn("ada", agent_type="t", stream=False) as turn:
        turn.add({"role": "assistant", "content": "hello"})
        await turn.commit()
        turn.add({"role": "assistant", "content": "goodbye"})
    assert sessions.asked == ["call", "call", "no line ada", "call"]
