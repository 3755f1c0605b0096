"""Every batch and every object call of a turn at its worst moment, and then each way in which somebody goes on."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from agents_store_cloudflare import CloudflareStore, TurnEndedError
from agents_store_cloudflare.database import retry
from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.locks.lock_object import LockObject
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.objects import namespace as object_calls
from agents_store_cloudflare.testing import FakeClock, LocalObjects, SqliteDatabase
from tests.turns.faulty_worker import OUTCOMES, FaultyWorker, Outcome, WorkerDiedError

CALLS = 9
"""More than a turn sends: `test_the_calls_are_all_covered` says how many there are."""


class World:
    """What outlives a Worker."""

    def __init__(self, database: SqliteDatabase) -> None:
        self.clock = FakeClock()
        self.database = database
        self.streams = LocalObjects(StreamObject, clock=self.clock)
        self.locks = LocalObjects(LockObject, clock=self.clock)

    def worker(self, at: int | None = None, outcome: Outcome = "fails before") -> FaultyWorker:
        return FaultyWorker(self.database, self.streams, self.locks, self.clock, at=at, outcome=outcome)


def _at_once(_attempt: int) -> float:
    return 0.0


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come at once."""

    async def pause(_: Any) -> None:
        pass

    monkeypatch.setattr(retry, "pause_before_retry", pause)
    monkeypatch.setattr(object_calls, "backoff_s", _at_once)


@pytest.fixture
async def world() -> World:
    database = SqliteDatabase()
    await run_migration(database)
    world = World(database)
    store = world.worker().store
    await store.usage_store.set_budget("b", 1000, "tokens")
    async with store.turn("s", agent_type="a", auto_refresh=False, messages=[{"role": "user", "content": "before"}]):
        pass
    return world


async def _agent(store: CloudflareStore, turn_id: str) -> None:
    """One turn: a question, two chunks, a commit on the way, an answer, usage, a budget."""
    question = {"role": "user", "content": f"question {turn_id}"}
    async with store.turn(
        "s", agent_type="a", turn_id=turn_id, messages=[question], budget=("b", 100), auto_refresh=False
    ) as turn:
        await turn.write({"type": "text", "text": turn_id})
        turn.record_tokens(model="m", prompt=3)
        turn.state.custom_state["last"] = turn_id
        turn.add({"role": "assistant", "content": f"answer {turn_id}"})


async def _same(world: World) -> None:
    """The same request comes again, e.g. from a queue."""
    with suppress(TurnEndedError):
        await _agent(world.worker().store, "t")


async def _other(world: World) -> None:
    """Another Worker begins another turn."""
    await _agent(world.worker().store, "u")


async def _sweep(world: World) -> None:
    """The cron trigger comes."""
    await world.worker().store.sweep_turns()


FOLLOWERS: list[Callable[[World], Awaitable[None]]] = [_same, _other, _sweep]


async def test_the_calls_are_all_covered(world: World) -> None:
    """TU-9: a turn sends fewer calls than are made to fail below."""
    worker = world.worker()
    await _agent(worker.store, "t")
    assert worker.count == 7  # lock; writer and enter; flush; commit; release and closing chunk
    assert worker.count <= CALLS


@pytest.mark.parametrize("follow", FOLLOWERS, ids=lambda follow: follow.__name__)
@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("at", range(CALLS))
async def test_a_turn_and_its_worst_moment(
    world: World, at: int, outcome: Outcome, follow: Callable[[World], Awaitable[None]]
) -> None:
    """TU-3 to TU-8: messages, state, checkpoint, usage, budget, run and stream agree, whatever happens when."""
    try:
        await _agent(world.worker(at, outcome).store, "t")
    except WorkerDiedError:
        assert outcome.startswith("dies")
    else:
        assert outcome in {"fails before", "reply lost"} or at >= 7
    await world.clock.advance(60)
    await follow(world)
    await world.clock.advance(60)
    await _sweep(world)
    await _check(world, wants_t=follow is _same or not outcome.startswith("dies"), has_u=follow is _other)


async def _check(world: World, *, wants_t: bool, has_u: bool) -> None:
    store = world.worker().store
    runs = await store.state_store.list_runs("s")
    done = [run.run_id for run in runs if run.status == "completed"][::-1]
    interrupted = [run.run_id for run in runs if run.status == "interrupted"]
    assert len(done) + len(interrupted) == len(runs)
    assert not wants_t or "t" in done
    assert ("u" in done) == has_u
    state = await store.state_store.load_state("s", required=True)
    contents = [str(message.get("content")) for message in state.messages]
    begun = {run.run_id.rpartition("-")[2] for run in runs}
    assert contents[0] == "before"
    for name in ("t", "u"):
        assert contents.count(f"question {name}") == (name in begun)
        assert contents.count(f"answer {name}") == (name in done)
    assert state.custom_state == ({"last": done[-1]} if done[-1] in {"t", "u"} else {})
    spent = 3 * len({"t", "u"} & set(done))
    assert (await store.usage_store.get_rollup("s")).tokens.total == spent
    budget = await store.usage_store.get_budget("b")
    assert budget is not None
    assert (budget.reserved, budget.settled) == (0, spent)
    checkpoint = await store.state_store.get_latest_checkpoint("s")
    assert checkpoint is not None
    assert (checkpoint.run_id, checkpoint.state and checkpoint.state.custom_state) == (done[-1], state.custom_state)
    await _check_stream(store, done, interrupted)
    assert (await store.sweep_turns()).told == 0
    assert not await store.locks.is_locked("s")


async def _check_stream(store: CloudflareStore, done: list[str], interrupted: list[str]) -> None:
    await store.stream_manager.end_stream("s")
    async with store.stream_manager.create_reader("s") as reader:
        chunks: list[Any] = [chunk async for chunk in reader]
    assert [chunk["turnId"] for chunk in chunks if chunk["type"] == "turn-end"] == done
    assert len([chunk for chunk in chunks if chunk["type"] == "turn-failed"]) == len(interrupted)
    for name in ("t", "u"):
        places = [index for index, chunk in enumerate(chunks) if chunk.get("text") == name]
        ends = [index for index, chunk in enumerate(chunks) if chunk.get("turnId") == name]
        assert len(places) >= (name in done)
        assert not places or places[-1] < ends[-1]
