"""Locks in real Durable Objects."""

import asyncio
from typing import Any, LiteralString

import pytest

from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.cloudflare.namespace import as_namespace
from agents_store_cloudflare.database import BatchCost, Statement
from agents_store_cloudflare.locks import DurableObjectLockManager
from agents_store_cloudflare.objects import ObjectNamespace
from agents_store_cloudflare.testing import SystemClock
from agents_store_cloudflare.testing.conformance.locks import LockConformance


class TestLocks(LockConformance):
    @pytest.fixture
    def clock(self) -> SystemClock:
        return SystemClock()

    @pytest.fixture
    def lock_namespace(self, env: Any) -> ObjectNamespace:
        return as_namespace(env.LOCKS)


async def test_a_hundred_wait_without_polling(env: Any, unique: str) -> None:
    """LK-8, LK-18: A hundred waiters in the real runtime are all served in order, with two calls each."""
    namespace = as_namespace(env.LOCKS)
    calls = 0

    class Counted:
        async def call(self, name: str, request: str) -> str:
            nonlocal calls
            calls += 1
            return await namespace.call(name, request)

    manager = DurableObjectLockManager(Counted())
    served: list[int] = []

    async def turn(number: int) -> None:
        async with manager.lock(unique, wait=100):
            served.append(number)

    holder = await manager.acquire(unique, ttl=100)
    assert holder is not None
    turns: list[asyncio.Task[None]] = []
    for number in range(100):
        turns.append(asyncio.ensure_future(turn(number)))
        await asyncio.sleep(0.005)
    assert await holder.release()
    await asyncio.gather(*turns)
    assert served == list(range(100))
    assert calls == 202


async def test_what_a_first_grant_costs(env: Any, unique: str) -> None:
    """LK-18: by the runtime's count a text in a table like its key-value one is a row written, a table of one's own two more.

    What the runtime writes to its own table it counts and bills, but shows to nobody; so the same statements are counted here.
    """
    costs: list[BatchCost] = []
    database = as_database(env.AGENT_DB, observer=costs.append)
    put: LiteralString = "INSERT INTO twin VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value"
    await database.batch([Statement("CREATE TABLE twin (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID")])
    try:
        for text in ("granted", "released"):
            await database.batch([Statement(put, (unique, text))])
    finally:
        await database.batch([Statement("DROP TABLE twin")])
    assert [cost.rows_written for cost in costs[:3]] == [2, 1, 1]
