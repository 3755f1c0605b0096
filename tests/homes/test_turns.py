"""Turns over homes, through the same conformance class as over D1."""

import pytest

from agents_store_cloudflare import SessionOptions, create_cloudflare_store, run_migration
from agents_store_cloudflare.durable_streams import StreamObject
from agents_store_cloudflare.homes.session_object import SessionObject
from agents_store_cloudflare.locks.lock_object import LockObject
from agents_store_cloudflare.store import CloudflareStore
from agents_store_cloudflare.testing import LocalObjects, SqliteDatabase
from agents_store_cloudflare.testing.conformance.turns import TurnConformance


class TestTurns(TurnConformance):
    @pytest.fixture
    async def store(self) -> CloudflareStore:
        database = SqliteDatabase()
        await run_migration(database)
        return create_cloudflare_store(
            db=database,
            streams=LocalObjects(StreamObject),
            locks=LocalObjects(LockObject),
            sessions=LocalObjects(lambda host: SessionObject(host, database=lambda: database)),
            session_options=SessionOptions(directory_delay=0),
        )

    async def test_batches_of_a_turn(self, store: CloudflareStore, unique: str) -> None:
        """TU-9, HM-4: A turn over homes sends nothing to D1, and two calls to its home."""
        async with store.turn(unique, agent_type="a"):
            pass
        with store.meter() as meter:
            async with store.turn(unique, agent_type="a", messages=[{"role": "user"}]) as turn:
                turn.add({"role": "assistant"})
        assert (meter.d1.round_trips, meter.objects.calls) == (0, 2)
