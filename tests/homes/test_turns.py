"""Turns over homes, through the same conformance class as over D1."""

import pytest

from agents_store_cloudflare.store import CloudflareStore
from agents_store_cloudflare.testing.conformance.turns import TurnConformance
from tests.homes.worlds import store_with_homes


class TestTurns(TurnConformance):
    @pytest.fixture
    async def store(self) -> CloudflareStore:
        return await store_with_homes()

    async def test_batches_of_a_turn(self, store: CloudflareStore, unique: str) -> None:
        """TU-9, HM-4: A turn over homes sends nothing to D1, and two calls to its home."""
        async with store.turn(unique, agent_type="a"):
            pass
        with store.meter() as meter:
            async with store.turn(unique, agent_type="a", messages=[{"role": "user"}]) as turn:
                turn.add({"role": "assistant"})
        assert (meter.d1.round_trips, meter.objects.calls) == (0, 2)
