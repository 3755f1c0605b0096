"""Every call of the state store against a plain model, in random order: the walk that tests/in_worker makes on real D1."""

import asyncio
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from state_walk.draws import WalkClock
from state_walk.walk import StateWalk

from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing import SqliteDatabase
from tests.lengths import length

STEPS_AN_EXAMPLE = 50


class StateMachine(RuleBasedStateMachine):
    """Each rule is one step of the walk. hypothesis leaves out steps and draws until it has the shortest failing walk."""

    @initialize()
    def start(self) -> None:
        self.runner = asyncio.Runner()
        self.clock = WalkClock()
        self.walk = StateWalk(self.runner.run(_new_store(self.clock)), self.clock)

    @rule(random=st.randoms(use_true_random=False))
    def step(self, random: Random) -> None:
        self.runner.run(self.walk.step(random))

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.close()


async def _new_store(clock: WalkClock, path: Path | str = ":memory:") -> D1StateStore:
    database = SqliteDatabase(path, now_ms=clock.now_ms)
    await run_migration(database)
    return D1StateStore(database, now_ms=clock.now_ms)


TestStateMachine = StateMachine.TestCase
"""ST-1 to ST-43: 2,000 steps in `make test`, 50,000 in `make soak`."""
TestStateMachine.settings = settings(
    max_examples=length(40, 1_000),
    stateful_step_count=STEPS_AN_EXAMPLE,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


@pytest.mark.parametrize("seed", range(length(1, 20)))
async def test_a_long_walk(seed: int, tmp_path: Path) -> None:
    """2,000 steps on one database, reopened twice. Every call succeeds often and fails often."""
    clock = WalkClock()
    path = tmp_path / "agents.sqlite"
    walk, random = StateWalk(await _new_store(clock, path), clock), Random(seed)
    for _ in range(3):
        for _ in range(700):
            await walk.step(random)
        walk.reopened(await _new_store(clock, path))
        await walk.compare_all(random)
    assert walk.steps >= 2_000
    seldom = {name: counts for name, counts in walk.made.items() if counts[0] - counts[1] < 3}
    assert not seldom, walk.made
