"""Locks in real Durable Objects."""

import asyncio
from typing import Any

import pytest

from agents_store_cloudflare.bindings import as_namespace
from agents_store_cloudflare.locks import DurableObjectLockManager
from agents_store_cloudflare.objects import ObjectNamespace
from agents_store_cloudflare.testing import SystemClock
from agents_store_cloudflare.testing.lock_conformance import LockConformance


class TestLocks(LockConformance):
    @pytest.fixture
    def clock(self) -> SystemClock:
        return SystemClock()

    @pytest.fixture
    def lock_namespace(self, env: Any) -> ObjectNamespace:
        return as_namespace(env.LOCKS)


async def test_a_hundred_wait_without_polling(env: Any, unique: str) -> None:
    """LK-8, LK-18: a hundred waiters in the real runtime are all served, in order, with two calls each."""
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
