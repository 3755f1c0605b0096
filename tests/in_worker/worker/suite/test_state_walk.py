"""The random walk of tests/state/test_state_machine.py on real D1, seeded."""

import random
from typing import Any

import pytest
from state_walk.draws import WalkClock
from state_walk.walk import StateWalk

from agents_store_cloudflare.contract.arguments import system_now_ms
from agents_store_cloudflare.state import D1StateStore

STEPS = 150


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_walk(database: Any, unique: str, seed: int) -> None:
    """ST-6 to ST-43: every step as the plain model says; the seed is in the test's name."""
    clock = WalkClock()
    walk = StateWalk(
        D1StateStore(database, now_ms=clock.now_ms), clock, prefix=f"{unique} ", database_now_ms=system_now_ms
    )
    choice = random.Random(seed)
    for _ in range(STEPS):
        await walk.step(choice)
