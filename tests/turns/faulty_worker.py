"""A Worker that fails at chosen calls: every batch and every object call is one, in the order in which they are sent."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from agents_store_cloudflare import (
    CloudflareStore,
    LockOptions,
    SessionOptions,
    StateStoreOptions,
    UsageOptions,
    create_cloudflare_store,
)
from agents_store_cloudflare.database import Row, SqlError, Statement
from agents_store_cloudflare.objects import ObjectCallError
from agents_store_cloudflare.testing import FakeClock, LocalObjects, SqliteDatabase
from agents_store_cloudflare.testing.faults import LOST

__all__ = ["OUTCOMES", "FaultyWorker", "Outcome", "WorkerDiedError"]

Outcome: TypeAlias = Literal["fails before", "reply lost", "dies before", "dies after", "cut off", "mute"]
OUTCOMES: tuple[Outcome, ...] = ("fails before", "reply lost", "dies before", "dies after", "cut off", "mute")
"""The last two go on: from this call on nothing is sent, or everything has its effect and no reply arrives."""


class WorkerDiedError(BaseException):
    """The Worker is dead, and nothing of it runs any more. It is an exception only because the test must go on."""


class FaultyWorker:
    """The stores of one Worker, and the call that fails.

    Args:
        faults: the numbers of the failing calls, counted from 0, with what happens to each.
        sessions: the homes, where sessions do not live in the database.

    Attributes:
        count: how many calls were sent.
    """

    def __init__(
        self,
        database: SqliteDatabase,
        streams: LocalObjects,
        locks: LocalObjects,
        clock: FakeClock,
        faults: Mapping[int, Outcome],
        *,
        sessions: LocalObjects | None = None,
    ) -> None:
        self.count: int = 0
        self._faults = dict(faults)
        self._clock = clock
        self._stopped_s: float | None = None
        self._lasting: Outcome | None = None
        self._is_dead = False
        self.store: CloudflareStore = create_cloudflare_store(
            db=_Database(self, database),
            streams=_Objects(self, streams),
            locks=_Objects(self, locks),
            sessions=None if sessions is None else _Objects(self, sessions),
            state_options=StateStoreOptions(now_ms=clock.now_ms),
            usage_options=UsageOptions(now_ms=clock.now_ms),
            session_options=None if sessions is None else SessionOptions(directory_delay=0, check_db=False),
            lock_options=LockOptions(
                now_s=self._now_s,
                sleep=lambda seconds: clock.sleep(seconds) if seconds > 3 else asyncio.sleep(0),
            ),
        )

    def fail(self, offset: int, outcome: Outcome) -> None:
        """Let the call fail that comes after `offset` more calls."""
        self._faults[self.count + offset] = outcome

    def forgive(self) -> None:
        """Forget the faults that have not come yet."""
        self._faults.clear()

    @property
    def is_dead(self) -> bool:
        """Whether the Worker has died."""
        return self._is_dead

    def die(self) -> None:
        """Let no further call of this Worker arrive."""
        self._is_dead = True

    def stop_clock(self) -> None:
        """Pause the Worker's clock. It believes in its lock for ever."""
        self._stopped_s = self._now_s()

    def _now_s(self) -> float:
        return self._clock.now_ms() / 1000 if self._stopped_s is None else self._stopped_s

    def before(self) -> Outcome | None:
        """Count a call. Return the fate of its reply, or None if it arrives. Raise if the call is not sent."""
        if self._is_dead:
            raise WorkerDiedError
        outcome = self._lasting or self._faults.get(self.count)
        self.count += 1
        if outcome in ("cut off", "mute"):
            self._lasting = outcome
        if outcome == "dies before":
            self._is_dead = True
            raise WorkerDiedError
        if outcome in ("fails before", "cut off"):
            raise ConnectionError
        return outcome

    def after(self, outcome: Outcome) -> None:
        """Raise after the call has had its effect, because its reply does not arrive."""
        if outcome == "dies after":
            self._is_dead = True
            raise WorkerDiedError
        raise ConnectionError


class _Database:
    def __init__(self, worker: FaultyWorker, database: SqliteDatabase) -> None:
        self._worker = worker
        self._database = database

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        try:
            lost = self._worker.before()
            rows = await self._database.batch(statements)
            if lost is not None:
                self._worker.after(lost)
        except ConnectionError:
            raise SqlError(LOST) from None
        return rows


class _Objects:
    def __init__(self, worker: FaultyWorker, objects: LocalObjects) -> None:
        self._worker = worker
        self._objects = objects

    async def call(self, name: str, request: str) -> str:
        try:
            lost = self._worker.before()
            reply = await self._objects.call(name, request)
            if lost is not None:
                self._worker.after(lost)
        except ConnectionError:
            await asyncio.sleep(0)
            raise ObjectCallError("Network connection lost.", retryable=True) from None
        return reply
