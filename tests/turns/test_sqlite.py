"""Turns on sqlite and objects in process, through the same conformance class as in the Worker."""

from typing import Any

import pytest

from agents_store_cloudflare import create_cloudflare_store
from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.locks.lock_object import LockObject
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.store import CloudflareStore
from agents_store_cloudflare.testing import LocalObjects, SqliteDatabase
from agents_store_cloudflare.testing.conformance.turns import TurnConformance


class TestTurns(TurnConformance):
    @pytest.fixture
    async def store(self) -> CloudflareStore:
        database = SqliteDatabase()
        await run_migration(database)
        return create_cloudflare_store(db=database, streams=LocalObjects(StreamObject), locks=LocalObjects(LockObject))


async def test_a_use_before_the_block_is_explained() -> None:
    """`store.turn` without `async with` names the mistake."""
    store = create_cloudflare_store(
        db=SqliteDatabase(), streams=LocalObjects(StreamObject), locks=LocalObjects(LockObject)
    )
    unentered: Any = store.turn("ada", agent_type="chat")
    with pytest.raises(AttributeError, match=r"not entered yet.*'write'.*async with store\.turn"):
        await unentered.write({"type": "text"})
