"""The operations of the lock manager and of the locks that it gives."""

from __future__ import annotations

import asyncio
from copy import deepcopy
from typing import Any

from agents_store_cloudflare import DurableObjectLockManager, LockObject
from agents_store_cloudflare.contract.locks import Lock, LockManager, LockSet
from agents_store_cloudflare.locks.options import LockOptions
from agents_store_cloudflare.testing import FakeClock, LocalObjects
from tests.instruments.operations import NOW_MS, Call, Operation, Role, plain
from tests.instruments.seams import Seam, WatchedNamespace

__all__ = ["LOCKS", "LockWorld"]

KEYS = ("a", "b", "c", "held")
READS = {"LockManager.get_holder", "LockManager.is_locked", "LockSet.remaining", "Lock.remaining", "Lock.on"}


class LockWorld:
    """Two keys that are free and one, `held`, whose lock the first client has."""

    manager_type: type[DurableObjectLockManager] = DurableObjectLockManager

    def __init__(self) -> None:
        self.clock = FakeClock(NOW_MS)
        self.seam = Seam()
        self.objects = LocalObjects(LockObject, clock=self.clock)
        options = LockOptions(now_s=self._now_s, sleep=self._sleep)
        self.mine = self.manager_type(WatchedNamespace(self.objects, self.seam), options=options)
        self.theirs = DurableObjectLockManager(self.objects, options=options)
        self.lock: Any = None
        self.locks: Any = None
        self.sleeping = 0

    def _now_s(self) -> float:
        return self.clock.now_ms() / 1000

    async def _sleep(self, seconds: float) -> None:
        """Let the pauses between attempts end at once. Refreshing and watching pause for 30 s, and these pauses do not end."""
        if seconds < 3:
            await asyncio.sleep(0)
        else:
            await self.clock.sleep(seconds)

    @classmethod
    async def open(cls) -> LockWorld:
        world = cls()
        world.lock = await world.mine.acquire("held", owner="me")
        return world

    async def picture(self) -> str:
        await settle()
        held = [await self.theirs.is_locked(key) for key in KEYS]
        tokens: list[int | None] = []
        for key in KEYS:
            lock = await self.theirs.acquire(key, owner="probe")
            tokens.append(None if lock is None else lock.fencing_token)
        return plain({"held": held, "free tokens": tokens, "lost": self.lock.lost})

    async def left_over(self) -> list[str]:
        await settle()
        return [key for key in KEYS[:3] if await self.theirs.is_locked(key)]

    async def probe(self, client: Any) -> None:
        lock = await client.acquire("probe")
        assert lock is not None
        assert await lock.refresh()
        assert await lock.release()

    def close(self) -> None:
        self.objects.close()


async def settle() -> None:
    for _ in range(25):
        await asyncio.sleep(0)


def shown(held: Any) -> Any:
    """Return the held locks as plain values."""
    if held is None or isinstance(held, bool):
        return held
    locks: list[Any] = list(held.values()) if hasattr(held, "values") else [held]
    return [(each.key, each.owner, each.fencing_token, each.expires_at) for each in locks]


def _op(name: str, method: str, *arguments: Any, **keywords: Any) -> Operation:
    async def prepare(world: LockWorld, client: DurableObjectLockManager) -> Call:
        async def call(*given: Any) -> Any:
            return shown(await getattr(client, method)(*given, **keywords))

        return Call(call, deepcopy(list(arguments)))

    return Operation(name, (f"LockManager.{method}",), prepare)


async def _lock_of(world: LockWorld, client: DurableObjectLockManager) -> Any:
    """Return the lock on `held` as this client holds it. Another client takes `c` for its own calls."""
    return world.lock if client is world.mine else await client.acquire("c", owner="them")


def _of_lock(name: str, method: str, **keywords: Any) -> Operation:
    async def prepare(world: LockWorld, client: DurableObjectLockManager) -> Call:
        return Call(getattr(await _lock_of(world, client), method), (), keywords)

    return Operation(name, (f"Lock.{method}",), prepare)


async def _release_set(world: LockWorld, client: DurableObjectLockManager) -> Call:
    locks = await client.acquire_all(["a", "b"] if client is world.mine else ["c"], owner="set")
    assert locks is not None
    return Call(locks.release)


async def _lock_block(world: LockWorld, client: DurableObjectLockManager) -> Call:
    async def block() -> Any:
        async with client.lock("a", owner="block", auto_refresh=True) as lock:
            await asyncio.sleep(0)
            return shown(lock)

    return Call(block)


async def _locks_block(world: LockWorld, client: DurableObjectLockManager) -> Call:
    async def block(keys: list[str]) -> Any:
        async with client.locks(keys, owner="block", wait=1, auto_refresh=True) as locks:
            await asyncio.sleep(0)
            return shown(locks)

    async def in_time(keys: list[str]) -> Any:
        """The block; when it waits for somebody, the second passes."""
        task = asyncio.ensure_future(block(keys))
        await settle()
        if not task.done():
            await world.clock.advance(1.1)
        return await task

    return Call(block if client is world.mine else in_time, [["a", "b", "c"]])


LOCKS = Role(
    "locks",
    (LockManager, Lock, LockSet),
    frozenset(READS),
    True,
    LockWorld.open,
    (
        _op("acquire", "acquire", "a", owner="me"),
        _op("acquire what is held", "acquire", "held", owner="me"),
        _op("acquire for a moment", "acquire", "a", owner="me", ttl=5),
        _op("acquire all", "acquire_all", ["b", "a"], owner="me"),
        _op("acquire all, one held", "acquire_all", ["a", "held"], owner="me"),
        _op("delete", "delete", "held"),
        _op("delete what is free", "delete", "a"),
        _of_lock("refresh", "refresh", ttl=20),
        _of_lock("release", "release"),
        Operation("release a set", ("LockSet.release",), _release_set, gives_back=True),
        Operation("a lock in a block", ("LockManager.lock",), _lock_block, is_retried=False, is_block=True),
        Operation("locks in a block", ("LockManager.locks",), _locks_block, is_retried=False, is_block=True),
    ),
)
