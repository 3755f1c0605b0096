"""A Worker that fails at a chosen call: every batch and every object call is one, in the order in which they are sent."""

import asyncio
from collections.abc import Sequence
from typing import Literal, TypeAlias

from agents_store_cloudflare import CloudflareStore, LockOptions, create_cloudflare_store
from agents_store_cloudflare.database import Row, SqlError, Statement
from agents_store_cloudflare.objects import ObjectCallError
from agents_store_cloudflare.testing import FakeClock, LocalObjects, SqliteDatabase
from agents_store_cloudflare.testing.faults import LOST

__all__ = ["OUTCOMES", "FaultyWorker", "Outcome", "WorkerDiedError"]

Outcome: TypeAlias = Literal["fails before", "reply lost", "dies before", "dies after"]
OUTCOMES: tuple[Outcome, ...] = ("fails before", "reply lost", "dies before", "dies after")


class WorkerDiedError(BaseException):
    """Nothing of a dead Worker runs on; it only looks like an exception because the test must go on."""


class FaultyWorker:
    """The stores of one Worker, and the call that fails.

    Args:
        at: the number of the failing call, counted from 0; None fails none.

    Attributes:
        count: how many calls were sent.
    """

    def __init__(
        self,
        database: SqliteDatabase,
        streams: LocalObjects,
        locks: LocalObjects,
        clock: FakeClock,
        *,
        at: int | None = None,
        outcome: Outcome = "fails before",
    ) -> None:
        self.count: int = 0
        self._at = at
        self._outcome = outcome
        self._is_dead = False
        self.store: CloudflareStore = create_cloudflare_store(
            db=_Database(self, database),
            streams=_Objects(self, streams),
            locks=_Objects(self, locks),
            lock_options=LockOptions(
                now_s=lambda: clock.now_ms() / 1000,
                sleep=lambda seconds: clock.sleep(seconds) if seconds > 3 else asyncio.sleep(0),
            ),
        )

    def before(self) -> bool:
        """Count a call. Returns whether its reply is lost; raises where it is not sent."""
        if self._is_dead:
            raise WorkerDiedError
        is_it = self.count == self._at
        self.count += 1
        if is_it and self._outcome == "dies before":
            self._is_dead = True
            raise WorkerDiedError
        if is_it and self._outcome == "fails before":
            raise ConnectionError
        return is_it

    def after(self) -> None:
        """The call has had its effect, and its reply does not arrive."""
        if self._outcome == "dies after":
            self._is_dead = True
            raise WorkerDiedError
        raise ConnectionError


class _Database:
    def __init__(self, worker: FaultyWorker, database: SqliteDatabase) -> None:
        self._worker = worker
        self._database = database

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        try:
            is_lost = self._worker.before()
            rows = await self._database.batch(statements)
            if is_lost:
                self._worker.after()
        except ConnectionError:
            raise SqlError(LOST) from None
        return rows


class _Objects:
    def __init__(self, worker: FaultyWorker, objects: LocalObjects) -> None:
        self._worker = worker
        self._objects = objects

    async def call(self, name: str, request: str) -> str:
        try:
            is_lost = self._worker.before()
            reply = await self._objects.call(name, request)
            if is_lost:
                self._worker.after()
        except ConnectionError:
            await asyncio.sleep(0)
            raise ObjectCallError("Network connection lost.", retryable=True) from None
        return reply
