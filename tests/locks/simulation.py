"""Many holders of few locks in a world where everything goes wrong that can; what they saw is recorded.

The world: sqlite objects and a sqlite D1 in process, a clock that all callers share, and a clock of the objects that is corrected now
and then, by minutes, both ways. Requests get lost before or after they took effect, or arrive twice, some of them much later; objects
restart; databases fail; holders pause for longer than their ttl and write on, vanish, or give up while they wait.
"""

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from agents_store_cloudflare.contract.arguments import UNSET
from agents_store_cloudflare.contract.errors import AgentsStoreError, LockError, StaleFencingTokenError
from agents_store_cloudflare.contract.state.marks import ANY_VERSION
from agents_store_cloudflare.contract.state.records import AgentState
from agents_store_cloudflare.database import Database, Row, SqlError, Statement
from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.locks import DurableObjectLock, DurableObjectLockManager, LockObject, LockOptions
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.objects import ObjectCallError, ObjectHost, ObjectLogic, ObjectNamespace
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.streams.options import StreamOptions
from agents_store_cloudflare.testing import FakeClock, LocalObjects, SqliteDatabase
from agents_store_cloudflare.testing.history import Recorder
from agents_store_cloudflare.testing.history.operations import Outcome

__all__ = ["StalledError", "World"]

KEYS = ("crowded", "busy", "used", "quiet", "quieter", "quietest")
WEIGHTS = (16, 8, 4, 2, 1, 1)
HOLDERS = 16
MOST_IDLE_STEPS = 3_000

LockLogic: TypeAlias = Callable[[ObjectHost], ObjectLogic]


class StalledError(AssertionError):
    """Much time passed, and no holder made progress."""


class CorrectedClock:
    """The objects' clock. It runs with the world's clock and is corrected now and then. Timers do not notice."""

    def __init__(self, world: FakeClock) -> None:
        self._world = world
        self._ahead_ms = 0
        self._lowest: set[Lowest] = set()

    def now_ms(self) -> int:
        return self._world.now_ms() + self._ahead_ms

    def call_at(self, at_ms: int, callback: Callable[[], None]) -> Callable[[], None]:
        return self._world.call_at(at_ms - self._ahead_ms, callback)

    def correct(self, ahead_ms: int) -> None:
        self._ahead_ms = ahead_ms
        for lowest in self._lowest:
            lowest.ms = min(lowest.ms, self.now_ms())

    def watch(self) -> "Lowest":
        lowest = Lowest(self.now_ms())
        self._lowest.add(lowest)
        return lowest

    def unwatch(self, lowest: "Lowest") -> int:
        self._lowest.discard(lowest)
        return lowest.ms


class Lowest:
    """The lowest reading of a clock since the watch began."""

    def __init__(self, ms: int) -> None:
        self.ms = ms


class Network:
    """A bad network, which is very bad at times."""

    def __init__(self, clock: FakeClock, dice: random.Random) -> None:
        self._clock = clock
        self._dice = dice
        self._down_until_ms = 0

    def fate(self) -> float:
        """Return a number. Under 0.03 the request is lost, under 0.06 its reply is lost, and under 0.1 the request arrives twice."""
        fate = self._dice.random()
        if fate > 0.998:
            self._down_until_ms = self._clock.now_ms() + self._dice.randint(50, 3_000)
        is_down = self._clock.now_ms() < self._down_until_ms
        return fate % 0.06 if is_down else fate


class UnreliableNamespace:
    """Objects behind a bad network."""

    def __init__(self, objects: ObjectNamespace, clock: FakeClock, dice: random.Random) -> None:
        self._objects = objects
        self._clock = clock
        self._dice = dice
        self._network = Network(clock, dice)
        self._late: set[asyncio.Task[None]] = set()

    async def call(self, name: str, request: str) -> str:
        fate = self._network.fate()
        if fate < 0.03:
            raise ObjectCallError("Network connection lost.", retryable=True)
        reply = await self._objects.call(name, request)
        if fate < 0.06:
            raise ObjectCallError("Network connection lost.", retryable=True)
        if fate < 0.10:
            if json.loads(request.partition("\n")[0])["op"] == "refresh":
                # A late one would lengthen a lease behind its holder's back, and the history would not know.
                return await self._objects.call(name, request)
            self._send_again_later(name, request)
        return reply

    def _send_again_later(self, name: str, request: str) -> None:
        async def again() -> None:
            await self._clock.sleep(self._dice.uniform(0, 4))
            with suppress(ObjectCallError):
                await self._objects.call(name, request)

        task = asyncio.ensure_future(again())
        self._late.add(task)
        task.add_done_callback(self._late.discard)


class UnreliableDatabase:
    """D1 behind a bad network."""

    def __init__(self, database: Database, clock: FakeClock, dice: random.Random) -> None:
        self._database = database
        self._network = Network(clock, dice)

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        fate = self._network.fate()
        if fate < 0.03:
            raise SqlError("D1_ERROR: Network connection lost.")
        results = await self._database.batch(statements)
        if fate < 0.06:
            raise SqlError("D1_ERROR: Network connection lost.")
        return results


class World:
    """The objects, the database and the holders, with a record of everything that the holders saw.

    Args:
        lock_logic, state_store, drops_stream_fence: where mutants are planted.
    """

    def __init__(
        self,
        folder: Path,
        seed: int,
        *,
        lock_logic: LockLogic = LockObject,
        state_store: type[D1StateStore] = D1StateStore,
        drops_stream_fence: bool = False,
    ) -> None:
        self.dice = random.Random(seed)
        self.clock = FakeClock()
        self.object_clock = CorrectedClock(self.clock)
        self.history = folder / "history.jsonl"
        self.recorder = Recorder(self.history, now=self._count)
        self._moment = 0
        self._value = 0
        self._is_closing = False
        self._drops_stream_fence = drops_stream_fence
        self._lock_objects = LocalObjects(lock_logic, clock=self.object_clock)
        self._stream_objects = LocalObjects(StreamObject, clock=self.clock)
        self._locks = UnreliableNamespace(self._lock_objects, self.clock, self.dice)
        self._database = SqliteDatabase()
        self._states = state_store(UnreliableDatabase(self._database, self.clock, self.dice))
        stream_options = StreamOptions(sleep=self.clock.sleep, now_ms=self.clock.now_ms)
        self._streams = DurableObjectStreamManager(
            UnreliableNamespace(self._stream_objects, self.clock, self.dice), options=stream_options
        )
        self._clear_streams = DurableObjectStreamManager(self._stream_objects, options=stream_options)

    async def run(self, operations: int) -> None:
        """Let the holders do at least so many operations, then look at all that was stored.

        Raises:
            StalledError: nothing was recorded for minutes of the world's time.
        """
        await run_migration(self._database)
        holders = [asyncio.ensure_future(self._hold_again_and_again(number)) for number in range(HOLDERS)]
        try:
            await self._pass_time(lambda: self.recorder.count >= operations, holders)
            self._is_closing = True
            await self._pass_time(lambda: all(holder.done() for holder in holders), holders)
        finally:
            for holder in holders:
                holder.cancel()
            await asyncio.gather(*holders, return_exceptions=True)
            await self.clock.advance(10)
        for key in KEYS:
            await self._record_contents(key)
        self.recorder.close()
        self._lock_objects.close()
        self._stream_objects.close()
        self._database.close()

    async def _pass_time(self, is_enough: Callable[[], bool], holders: Sequence["asyncio.Future[None]"]) -> None:
        idle_steps, count = 0, 0
        while not is_enough():
            await self.clock.advance(self.dice.uniform(0.01, 0.3))
            self._trouble()
            for holder in holders:
                if holder.done():
                    holder.result()
            idle_steps = idle_steps + 1 if self.recorder.count == count else 0
            count = self.recorder.count
            if idle_steps > MOST_IDLE_STEPS:
                raise StalledError(f"nothing happened in {MOST_IDLE_STEPS} steps after {count} operations")

    def _trouble(self) -> None:
        fate = self.dice.random()
        if fate < 0.02:
            self.object_clock.correct(self.dice.choice([0, self.dice.randint(-600_000, 600_000)]))
        elif fate < 0.04:
            self._lock_objects.restart()
        elif fate < 0.05:
            self._stream_objects.restart()

    async def _hold_again_and_again(self, number: int) -> None:
        manager = DurableObjectLockManager(
            self._locks,
            options=LockOptions(now_s=lambda: self.clock.now_ms() / 1000, sleep=self.clock.sleep, shards=2),
        )
        while not self._is_closing:
            [key] = self.dice.choices(KEYS, WEIGHTS)
            auto_refresh = self.dice.random() < 0.2
            try:
                lock = await self._acquire(manager, key, auto_refresh=auto_refresh)
                if lock is None:
                    await self.clock.sleep(self.dice.uniform(0.05, 0.5))
                    continue
                for _ in range(self.dice.randint(1, 12)):
                    await self._do_something(lock, is_refreshed=auto_refresh)
                if self.dice.random() < 0.85:
                    await self._release(lock)
                if self.dice.random() < 0.3:
                    await self._write(lock)  # it should not, and does
                if self.dice.random() < 0.1:
                    await manager.delete(key)
                    await manager.clean_up(idle=1)
            except LockError as error:
                if not error.outcome_unknown:
                    raise

    async def _acquire(
        self, manager: DurableObjectLockManager, key: str, *, auto_refresh: bool
    ) -> DurableObjectLock | None:
        start = self.recorder.now()
        acquiring = asyncio.ensure_future(
            manager.acquire(
                key,
                ttl=self.dice.uniform(0.3, 3),
                wait=self.dice.choice([0, 1, 5]),
                auto_refresh=auto_refresh,
                lock_delay=self.dice.choice([0, 0, 0.5]),
            )
        )
        if self.dice.random() < 0.05:
            await self.clock.sleep(self.dice.uniform(0, 1))
            if acquiring.cancel():
                with suppress(asyncio.CancelledError):
                    await acquiring
                return None
        lock = await acquiring
        if lock is not None:
            until = None if auto_refresh else lock.expires_at
            self.recorder.add("grant", "ok", start, key=key, token=lock.fencing_token, valid_until=until)
        return lock

    async def _do_something(self, lock: DurableObjectLock, *, is_refreshed: bool) -> None:
        fate = self.dice.random()
        if fate < 0.35:
            await self._write(lock)
        elif fate < 0.6:
            await self._append(lock)
        elif fate < 0.85:
            await self._read(lock.key)
        elif fate < 0.93:
            await self._refresh(lock, is_refreshed=is_refreshed)
        else:
            # It stands still, now and then for longer than its lease lasts, and goes on as if nothing had happened.
            await self.clock.sleep(self.dice.choice([0.1, 0.5, 4]))
            if self.dice.random() < 0.5:
                await self._refresh(lock, is_refreshed=is_refreshed)

    async def _refresh(self, lock: DurableObjectLock, *, is_refreshed: bool) -> None:
        start, lowest = self.recorder.now(), self.object_clock.watch()
        outcome: Outcome = "unknown"
        try:
            outcome = "ok" if await lock.refresh() else "refused"
        finally:
            reading = self.object_clock.unwatch(lowest)
            is_known = outcome == "ok" and not is_refreshed
            self.recorder.add(
                "refresh",
                outcome,
                start,
                key=lock.key,
                token=lock.fencing_token,
                valid_until=lock.expires_at if is_known else None,
                clock=reading if is_known else None,
            )

    async def _release(self, lock: DurableObjectLock) -> None:
        start = self.recorder.now()
        outcome: Outcome = "unknown"
        try:
            outcome = "ok" if await lock.release() else "refused"
        finally:
            self.recorder.add("release", outcome, start, key=lock.key, token=lock.fencing_token)

    async def _write(self, lock: DurableObjectLock) -> None:
        start, value = self.recorder.now(), self._next_value()
        state = AgentState(session_id=f"register-{lock.key}", agent_type="x", custom_state={"value": value})
        outcome: Outcome = "ok"
        try:
            await self._states.save_state(
                state.session_id, state, expected_version=ANY_VERSION, fencing_token=lock.fencing_token
            )
        except AgentsStoreError as error:
            outcome = _outcome_of(error)
        self.recorder.add("write", outcome, start, resource=state.session_id, token=lock.fencing_token, value=value)

    async def _append(self, lock: DurableObjectLock) -> None:
        start, value = self.recorder.now(), self._next_value()
        outcome: Outcome = "ok"
        try:
            writer = await self._streams.create_writer(
                f"log-{lock.key}", "a", "x", fencing_token=UNSET if self._drops_stream_fence else lock.fencing_token
            )
            await writer.write({"type": "t", "value": value})
            await writer.close()
        except AgentsStoreError as error:
            outcome = _outcome_of(error)
        self.recorder.add("write", outcome, start, resource=f"log-{lock.key}", token=lock.fencing_token, value=value)

    async def _read(self, key: str) -> None:
        start = self.recorder.now()
        try:
            state = await self._states.load_state(f"register-{key}", messages="none")
        except AgentsStoreError:
            return
        value = None if state is None else str(state.custom_state["value"])
        self.recorder.add("read", "ok", start, resource=f"register-{key}", value=value)

    async def _record_contents(self, key: str) -> None:
        start = self.recorder.now()
        stream_id = f"log-{key}"
        if await self._clear_streams.get_info(stream_id) is None:
            return
        await self._clear_streams.end_stream(stream_id)
        async with self._clear_streams.create_reader(stream_id) as reader:
            values = [str(chunk["value"]) async for chunk in reader]
        self.recorder.add("contents", "ok", start, resource=stream_id, values=values)

    def _count(self) -> int:
        self._moment += 1
        return self._moment

    def _next_value(self) -> str:
        self._value += 1
        return f"v{self._value}"


def _outcome_of(error: AgentsStoreError) -> Outcome:
    if isinstance(error, StaleFencingTokenError):
        return "refused"
    if not error.outcome_unknown:
        raise error
    return "unknown"
