"""The jobs on locks."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from bench_job import Job

from agents_store_cloudflare import DurableObjectLockManager

__all__ = ["LOCK_JOBS", "LOCK_TTL_S"]

LOCK_TTL_S = 30
WAIT_S = 60


@dataclass(kw_only=True)
class AcquireRelease(Job):
    tokens: list[int] = field(default_factory=list[int])

    async def set_up(self) -> None:
        await self.once()

    async def once(self) -> None:
        lock = await DurableObjectLockManager(self.env.LOCKS).acquire(self.key, ttl=LOCK_TTL_S)
        if lock is None or not await lock.release():
            raise RuntimeError("the lease was lost")
        self.tokens.append(lock.fencing_token)

    async def read_back(self) -> object:
        locked = await DurableObjectLockManager(self.env.LOCKS).is_locked(self.key)
        rising = all(earlier < later for earlier, later in pairwise(self.tokens))
        return {"grants": len(self.tokens), "rising": rising, "locked": locked}


@dataclass(kw_only=True)
class Waiters(Job):
    """All want the same lock at once, and give it back as soon as they have it."""

    tokens: list[int] = field(default_factory=list[int])

    async def once(self) -> None:
        manager = DurableObjectLockManager(self.env.LOCKS)
        await asyncio.gather(*[self._hold_once(manager) for _ in range(self.input["waiters"])])

    async def read_back(self) -> object:
        locked = await DurableObjectLockManager(self.env.LOCKS).is_locked(self.key)
        return {"served": len(set(self.tokens)), "locked": locked}

    async def _hold_once(self, manager: DurableObjectLockManager) -> None:
        lock = await manager.acquire(self.key, ttl=LOCK_TTL_S, wait=WAIT_S)
        if lock is None or not await lock.release():
            raise RuntimeError("the lease was lost")
        self.tokens.append(lock.fencing_token)


LOCK_JOBS: Mapping[str, type[Job]] = {"acquire_release": AcquireRelease, "waiters": Waiters}
