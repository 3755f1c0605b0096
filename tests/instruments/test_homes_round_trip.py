"""Sessions move from D1 into homes and back, and life goes on in each place: equal by every read, and equal to the walk's model."""

from dataclasses import replace
from random import Random
from typing import Any, cast

import pytest

from agents_store_cloudflare import SessionOptions, create_cloudflare_store
from agents_store_cloudflare.contract.state.records import SessionPage
from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.homes.session_object import SessionObject
from agents_store_cloudflare.locks.lock_object import LockObject
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.state import D1StateStore, StateStoreOptions
from agents_store_cloudflare.store import CloudflareStore
from agents_store_cloudflare.testing import LocalObjects, SqliteDatabase
from agents_store_cloudflare.usage import UsageOptions
from tests.instruments.moving import Life, moved
from tests.lengths import length


async def _empty() -> SqliteDatabase:
    database = SqliteDatabase()
    await run_migration(database)
    return database


async def _homes(life: Life) -> CloudflareStore:
    """Return a store with homes and a D1 of its own, both empty."""
    database = await _empty()
    return create_cloudflare_store(
        db=database,
        streams=LocalObjects(StreamObject),
        locks=LocalObjects(LockObject),
        sessions=LocalObjects(lambda host: SessionObject(host, database=lambda: database)),
        session_options=SessionOptions(directory_delay=0),
        state_options=StateStoreOptions(now_ms=life.clock.now_ms),
        usage_options=UsageOptions(now_ms=life.clock.now_ms),
    )


class _WholeLists:
    """The state store over homes for the walk, which compares whole states: the directory's lists have fewer fields."""

    def __init__(self, states: D1StateStore) -> None:
        self._states = states

    def __getattr__(self, name: str) -> Any:
        return getattr(self._states, name)

    async def list_sessions(self, **wanted: Any) -> SessionPage:
        page = await self._states.list_sessions(**wanted)
        items = [await self._states.load_state(each.session_id, required=True, messages="none") for each in page.items]
        return replace(page, items=items)


@pytest.mark.parametrize("seed", range(length(2, 40)))
async def test_from_d1_into_homes_and_back(seed: int) -> None:
    """TR-13: sessions, usage and budgets stay usable in homes, and again in D1."""
    life = Life(await _empty(), Random(seed), prefix="tree//")
    for _ in range(length(2, 5)):
        await life.live(length(120, 400))
        await moved(life.database, homes := await _homes(life))
        await life.reopen(homes, lambda states: cast("D1StateStore", _WholeLists(states)))
        await life.live(length(60, 200))
        await moved(homes, target := await _empty())
        await life.reopen(target)
    await life.live(60)
    await life.check_totals()
