"""Every call of a turn over homes at its worst moment, and then each way in which somebody goes on: as over D1."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import pytest

from agents_store_cloudflare import AgentsStoreError
from agents_store_cloudflare.homes.session_object import SessionObject
from agents_store_cloudflare.testing import LocalObjects
from tests.lengths import length
from tests.turns.faulty_worker import OUTCOMES, FaultyWorker, Outcome, WorkerDiedError
from tests.turns.retries import retries_at_once
from tests.turns.world import FOLLOWERS, KINDS, World, agent, check

MOST_CALLS = 5
"""What the longest turn sends, its reservation included."""


class HomesWorld(World):
    """The world of `tests/turns`, with its session in a home."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.sessions = LocalObjects(lambda host: SessionObject(host, database=lambda: self.database), clock=self.clock)

    def worker(self, faults: Mapping[int, Outcome] | None = None) -> FaultyWorker:
        """Return a new Worker."""
        return FaultyWorker(self.database, self.streams, self.locks, self.clock, faults or {}, sessions=self.sessions)

    async def later(self) -> None:
        """Let the leases and the reservations of dead Workers end."""
        await self.clock.advance(3_700)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make retries come at once."""
    retries_at_once(monkeypatch)


async def _turn_then(kind: str, faults: Mapping[int, Outcome], follow: Callable[[World], Awaitable[None]]) -> None:
    world = await HomesWorld.of(kind)
    is_well = False
    with suppress(WorkerDiedError, AgentsStoreError):
        await agent(world.worker(faults).store, kind, "t")
        is_well = True
    await world.later()
    await follow(world)
    await world.later()
    await world.worker().store.sweep_turns()
    wanted = {"t": is_well or follow is FOLLOWERS[0], "u": follow is FOLLOWERS[1]}
    try:
        await check(world, wants={name for name, is_wanted in wanted.items() if is_wanted})
    except AssertionError as error:
        raise AssertionError(f"{kind}, {dict(faults)}, then {follow.__name__}: {error}") from error


@pytest.mark.parametrize("kind", KINDS)
async def test_the_calls_are_all_covered(kind: str) -> None:
    """TU-9: A turn over homes sends no more calls than the tests below make fail. No call reaches an object of its own."""
    world = await HomesWorld.of(kind)
    worker = world.worker()
    await agent(worker.store, kind, "t")
    assert worker.count <= MOST_CALLS
    assert (world.streams.calls, world.locks.calls) == (0, 0)


@pytest.mark.parametrize("follow", FOLLOWERS, ids=lambda follow: follow.__name__)
@pytest.mark.parametrize("kind", KINDS)
async def test_one_fault(kind: str, follow: Callable[[World], Awaitable[None]]) -> None:
    """Everything agrees after any fault of any call, whoever goes on. `SOAK` tries all combinations."""
    plans: list[dict[int, Outcome]] = [{at: outcome} for at in range(MOST_CALLS) for outcome in OUTCOMES]
    share = length(5, 1)
    for faults in plans[(KINDS.index(kind) + FOLLOWERS.index(follow)) % share :: share]:
        await _turn_then(kind, faults, follow)


@pytest.mark.parametrize("kind", KINDS)
async def test_two_faults(kind: str) -> None:
    """Everything agrees after two faults in one turn. The test tries a share of all pairs."""
    share = length(41, 3)
    pairs: list[tuple[int, int, Outcome]] = [
        (first, second, outcome)
        for first in range(MOST_CALLS)
        for second in range(first + 1, MOST_CALLS)
        for outcome in OUTCOMES
    ]
    for place, (first, second, outcome) in enumerate(pairs[KINDS.index(kind) :: share]):
        lost: Outcome = "reply lost" if place % 2 else "fails before"
        await _turn_then(kind, {first: lost, second: outcome}, FOLLOWERS[place % len(FOLLOWERS)])
