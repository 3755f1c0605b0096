"""Every batch and every object call of turns and sweeps at its worst moment, and then each way in which somebody goes on."""

import itertools
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress

import pytest

from agents_store_cloudflare import AgentsStoreError
from tests.turns.faulty_worker import OUTCOMES, Outcome, WorkerDiedError
from tests.turns.retries import retries_at_once
from tests.turns.world import FOLLOWERS, KINDS, World, agent, check

CALLS = {"plain": 7, "commits": 8, "staged": 8, "suspends": 7, "resumes": 8}
"""What a turn of each kind sends: lock; writer and batch, which enter; flush; commits; release and closing chunk."""

PASSING: tuple[Outcome, ...] = ("fails before", "reply lost")
IS_LONG = bool(os.environ.get("SOAK"))

Follower = Callable[[World], Awaitable[None]]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make retries come at once."""
    retries_at_once(monkeypatch)


async def _turn_then(kind: str, faults: Mapping[int, Outcome], follow: Follower) -> None:
    """Make a turn with faults. Then somebody goes on, then the cron trigger runs. Check that everything agrees."""
    world = await World.of(kind)
    is_well = False
    with suppress(WorkerDiedError, AgentsStoreError):
        await agent(world.worker(faults).store, kind, "t")
        is_well = True
    await world.later()
    await follow(world)
    await world.later()
    await world.worker().store.sweep_turns()
    wants = {
        name
        for name, is_wanted in (("t", is_well or follow is FOLLOWERS[0]), ("u", follow is FOLLOWERS[1]))
        if is_wanted
    }
    try:
        await check(world, wants=wants)
    except AssertionError as error:
        raise AssertionError(f"{kind}, {dict(faults)}, then {follow.__name__}: {error}") from error


@pytest.mark.parametrize("kind", KINDS)
async def test_the_calls_are_all_covered(kind: str) -> None:
    """TU-9: A turn sends exactly as many calls as the tests below make fail."""
    world = await World.of(kind)
    worker = world.worker()
    await agent(worker.store, kind, "t")
    assert worker.count == CALLS[kind]
    await worker.store.sweep_turns()
    await check(world, wants={"t"})


@pytest.mark.parametrize("follow", FOLLOWERS, ids=lambda follow: follow.__name__)
@pytest.mark.parametrize("kind", KINDS)
async def test_one_fault(kind: str, follow: Follower) -> None:
    """Everything agrees after any fault of any call, whoever goes on."""
    plans: list[dict[int, Outcome]] = [{at: outcome} for at in range(CALLS[kind]) for outcome in OUTCOMES]
    for faults in plans:
        await _turn_then(kind, faults, follow)
    print(f"{kind} turns, then {follow.__name__}: {len(plans)} faults")


def _pairs(calls: int) -> Iterator[dict[int, Outcome]]:
    """Return pairs of faults. The first one lets the Worker go on, so that a retry or a later call meets the second."""
    for first, second in itertools.combinations(range(calls + 1), 2):
        for first_outcome, second_outcome in itertools.product(PASSING, OUTCOMES):
            yield {first: first_outcome, second: second_outcome}


@pytest.mark.parametrize("kind", KINDS)
async def test_two_faults(kind: str) -> None:
    """Everything agrees after two faults in one turn. With SOAK it tries all pairs with all followers, otherwise a share."""
    pairs = list(_pairs(CALLS[kind]))
    plans = [(pair, follow) for pair in pairs for follow in FOLLOWERS]
    share = plans if IS_LONG else plans[KINDS.index(kind) :: 37]
    for faults, follow in share:
        await _turn_then(kind, faults, follow)
    print(f"{kind} turns with two faults: {len(share)} of {len(plans)}")


async def _dies_early(world: World) -> None:
    with suppress(WorkerDiedError):
        await agent(world.worker({3: "dies after"}).store, world.kind, "t")


async def _owes(world: World) -> None:
    with suppress(WorkerDiedError):
        await agent(world.worker({CALLS[world.kind] - 2: "dies before"}).store, world.kind, "t")


@pytest.mark.parametrize("kind", ["plain", "suspends"])
@pytest.mark.parametrize("before", [_dies_early, _owes], ids=lambda before: before.__name__)
@pytest.mark.parametrize("follow", FOLLOWERS, ids=lambda follow: follow.__name__)
async def test_faults_of_a_sweep(kind: str, before: Follower, follow: Follower) -> None:
    """TU-6: A sweep that fails or dies midway does no harm. The next sweep or the next turn finishes its work."""
    world = await World.of(kind)
    await before(world)
    await world.later()
    worker = world.worker()
    await worker.store.sweep_turns()
    plans: list[dict[int, Outcome]] = [{at: outcome} for at in range(worker.count) for outcome in OUTCOMES]
    for faults in plans:
        world = await World.of(kind)
        await before(world)
        await world.later()
        with suppress(WorkerDiedError, AgentsStoreError):
            await world.worker(faults).store.sweep_turns()
        await world.later()
        await follow(world)
        await world.later()
        await world.worker().store.sweep_turns()
        await check(world, wants={"u"} if follow is FOLLOWERS[1] else set())
    print(f"sweeps after {before.__name__} of {kind} turns, then {follow.__name__}: {len(plans)} faults")
