"""The conformance tests of a `LockManager` over Durable Objects.

Subclass `LockConformance`, and give it a `lock_namespace` and a `clock`.

Each test names the clauses of docs/guarantees.md that it proves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from agents_store_cloudflare.contract.errors import InvalidArgumentError, LockError, LockLostError, LockNotAcquiredError
from agents_store_cloudflare.locks import DurableObjectLock, DurableObjectLockManager, LockOptions
from agents_store_cloudflare.objects import ObjectCallError, ObjectNamespace
from agents_store_cloudflare.testing.conformance.fixtures import Time, UniqueNames
from agents_store_cloudflare.testing.faults import FaultyNamespace, Moment

__all__ = ["LockConformance"]

T = TypeVar("T")

LONGEST_WAIT_STEPS = 600
LIVE_S = 2
"""A ttl that does not end before the next call, even on a slow machine with a clock that really waits."""


class _Counted:
    """A namespace that counts its calls."""

    def __init__(self, namespace: ObjectNamespace) -> None:
        self._namespace = namespace
        self.calls = 0

    async def call(self, name: str, request: str) -> str:
        self.calls += 1
        return await self._namespace.call(name, request)


class _Interrupted:
    """A namespace that loses the reply of the next call. `between` runs before the caller notices."""

    def __init__(self, namespace: ObjectNamespace) -> None:
        self._namespace = namespace
        self.between: Callable[[], Awaitable[None]] | None = None

    async def call(self, name: str, request: str) -> str:
        reply = await self._namespace.call(name, request)
        if self.between is not None:
            between, self.between = self.between, None
            await between()
            raise ObjectCallError("Network connection lost.", retryable=True)
        return reply


async def _while_time_passes(clock: Time, work: Awaitable[T]) -> T:
    """Return the result of work that waits for pauses or for the expiry of leases. The time moves on meanwhile, up to a limit."""
    task = asyncio.ensure_future(work)
    for _ in range(LONGEST_WAIT_STEPS):
        if task.done():
            return task.result()
        await clock.advance(0.05)
    task.cancel()
    raise AssertionError("the work waits for an event that never comes")


async def _acquired(manager: DurableObjectLockManager, key: str, **options: Any) -> DurableObjectLock:
    lock = await manager.acquire(key, **options)
    assert lock is not None
    return lock


class LockConformance(UniqueNames):
    """The contract of `LockManager`, clause by clause."""

    @pytest.fixture
    def lock_namespace(self) -> ObjectNamespace:
        raise NotImplementedError("a subclass gives the objects under test")

    @pytest.fixture
    def clock(self) -> Time:
        raise NotImplementedError("a subclass gives the time its objects live in")

    @pytest.fixture
    def lock_options(self) -> LockOptions:
        """Options for every manager of a test. On the host they have the fake clock."""
        return LockOptions()

    @pytest.fixture
    def lock_manager(self, lock_namespace: ObjectNamespace, lock_options: LockOptions) -> DurableObjectLockManager:
        return DurableObjectLockManager(lock_namespace, options=lock_options)

    async def test_one_holds_the_others_do_not(self, lock_manager: DurableObjectLockManager, unique: str) -> None:
        """LK-1, LK-7, LK-32: While a lease is live, nobody else gets the key, and the owner does not get it again.

        A release frees it at once, and only once.
        """
        lock = await _acquired(lock_manager, unique, owner="me")
        assert (lock.key, lock.owner, lock.lost) == (unique, "me", False)
        assert await lock_manager.is_locked(unique)
        holder = await lock_manager.get_holder(unique)
        assert holder is not None
        assert (holder.key, holder.owner, holder.fencing_token) == (unique, "me", lock.fencing_token)
        assert holder.expires_at == lock.expires_at
        assert await lock_manager.acquire(unique) is None
        assert await lock_manager.acquire(unique, owner="me") is None
        assert await lock.release()
        assert not await lock.release()
        assert not await lock.refresh()
        assert not lock.lost
        assert not await lock_manager.is_locked(unique)
        assert await lock_manager.get_holder(unique) is None
        assert await lock_manager.acquire(unique) is not None

    async def test_of_many_at_once_one_gets_it(self, lock_manager: DurableObjectLockManager, unique: str) -> None:
        """LK-1: When twenty callers race for a key, one of them gets it."""
        locks = await asyncio.gather(*(lock_manager.acquire(unique) for _ in range(20)))
        assert len([lock for lock in locks if lock is not None]) == 1

    async def test_keys_do_not_know_each_other(self, lock_manager: DurableObjectLockManager, unique: str) -> None:
        """LK-1: A lock on one key leaves every other key free, whatever its characters."""
        for key in (unique, f"{unique}/a", f"{unique}'\"🎉 \\", f"{unique} A", f"{unique} a", unique.ljust(512, "x")):
            assert await lock_manager.acquire(key) is not None

    async def test_tokens_rise(self, lock_manager: DurableObjectLockManager, clock: Time, unique: str) -> None:
        """LK-2: Every grant of a key has a higher token, after a release and after an expiry."""
        tokens: list[int] = []
        for number in range(6):
            lock = await _acquired(lock_manager, unique, ttl=0.05)
            tokens.append(lock.fencing_token)
            assert lock.expires_at > 0
            if number % 2:
                await lock.release()
            else:
                await clock.advance(0.06)
        assert tokens == sorted(set(tokens))
        assert tokens[0] >= 1

    async def test_an_expired_lease_is_over(
        self, lock_manager: DurableObjectLockManager, clock: Time, unique: str
    ) -> None:
        """LK-4: A lease is over after its ttl, even if nobody else has acquired the key. No refresh brings it back."""
        lock = await _acquired(lock_manager, unique, ttl_ms=100)
        await clock.advance(0.12)
        assert not await lock_manager.is_locked(unique)
        assert lock.remaining() == 0
        assert lock.lost
        assert not await lock.refresh()
        assert not await lock.refresh(ttl=30)
        assert not await lock_manager.is_locked(unique)
        assert not await lock.release()

    async def test_only_its_token_moves_a_lease(
        self, lock_manager: DurableObjectLockManager, clock: Time, unique: str
    ) -> None:
        """LK-5: A holder that lost its lease neither extends nor ends the next lease, even with the same owner."""
        late = await _acquired(lock_manager, unique, ttl=0.1, owner="same")
        await clock.advance(0.12)
        holder = await _acquired(lock_manager, unique, owner="same")
        assert not await late.refresh()
        assert not await late.release()
        assert await lock_manager.is_locked(unique)
        assert await holder.refresh()
        assert await holder.release()

    async def test_a_refresh_extends(self, lock_manager: DurableObjectLockManager, clock: Time, unique: str) -> None:
        """LK-6: A refresh makes the lease last for its ttl from now. A ttl that the refresh gets is used for later refreshes too."""
        lock = await _acquired(lock_manager, unique, ttl=LIVE_S)
        first = lock.expires_at
        for _ in range(2):
            await clock.advance(LIVE_S * 0.6)
            assert await lock.refresh()
        assert lock.expires_at > first + 1_000 * LIVE_S
        assert await lock_manager.is_locked(unique)
        assert await lock.refresh(timedelta(seconds=20))
        assert 15 < lock.remaining() < 20
        await clock.advance(0.1)
        assert await lock.refresh()
        assert 15 < lock.remaining() < 20

    async def test_who_waits_is_served_in_order(
        self, lock_namespace: ObjectNamespace, lock_options: LockOptions, clock: Time, unique: str
    ) -> None:
        """LK-8: Waiting callers get the key in the order of their requests, with one call each."""
        counted = _Counted(lock_namespace)
        manager = DurableObjectLockManager(counted, options=lock_options)
        holder = await _acquired(manager, unique)
        served: list[int] = []

        async def wait_for_it(number: int) -> None:
            lock = await _acquired(manager, unique, wait=20)
            served.append(number)
            assert await lock.release()

        waiting: list[asyncio.Task[None]] = []
        for number in range(8):
            waiting.append(asyncio.ensure_future(wait_for_it(number)))
            await clock.advance(0.01)
        assert served == []
        assert await manager.acquire(unique) is None
        assert await holder.release()
        await _while_time_passes(clock, asyncio.gather(*waiting))
        assert served == list(range(8))
        assert counted.calls == 3 + 2 * 8

    async def test_a_wait_ends(self, lock_manager: DurableObjectLockManager, clock: Time, unique: str) -> None:
        """LK-8: When the time to wait is over, the answer is None, and the queue is empty."""
        holder = await _acquired(lock_manager, unique)
        assert await _while_time_passes(clock, lock_manager.acquire(unique, wait=0.1)) is None
        assert await holder.release()
        assert not await lock_manager.is_locked(unique)
        assert await lock_manager.acquire(unique) is not None

    async def test_an_expiry_serves_who_waits(
        self, lock_manager: DurableObjectLockManager, clock: Time, unique: str
    ) -> None:
        """LK-8: A holder that vanishes delays others only until its ttl ends."""
        lost = await _acquired(lock_manager, unique, ttl=0.1)
        lock = await _while_time_passes(clock, lock_manager.acquire(unique, wait=5))
        assert lock is not None
        assert lock.fencing_token > lost.fencing_token
        assert not await lost.release()

    async def test_a_refresh_holds_up_who_waits(
        self, lock_manager: DurableObjectLockManager, clock: Time, unique: str
    ) -> None:
        """LK-6, LK-8: While the holder refreshes its lease, no waiting caller gets the key."""
        holder = await _acquired(lock_manager, unique, ttl=LIVE_S)
        waiting = asyncio.ensure_future(lock_manager.acquire(unique, wait=20))
        for _ in range(2):
            await clock.advance(LIVE_S * 0.6)
            assert await holder.refresh()
        assert not waiting.done()
        assert await holder.release()
        assert await _while_time_passes(clock, waiting) is not None

    @pytest.mark.parametrize("moment", ["before", "after"])
    async def test_a_lost_call_is_repeated(
        self, lock_namespace: ObjectNamespace, lock_options: LockOptions, clock: Time, unique: str, moment: Moment
    ) -> None:
        """LK-9: Acquire, refresh, release and is_locked are sent again after a lost request or reply, and have one effect."""
        faulty = FaultyNamespace(lock_namespace)
        manager = DurableObjectLockManager(faulty, options=lock_options)
        faulty.fail(moment, moment)
        lock = await _while_time_passes(clock, manager.acquire(unique))
        assert lock is not None
        faulty.fail(moment)
        assert await _while_time_passes(clock, lock.refresh())
        faulty.fail(moment)
        assert await _while_time_passes(clock, manager.is_locked(unique))
        faulty.fail(moment)
        assert await _while_time_passes(clock, lock.release())
        assert not await manager.is_locked(unique)

    @pytest.mark.parametrize("meanwhile", ["another holds", "another expired", "forgotten", "forgotten and held"])
    async def test_a_release_repeated_late(
        self, lock_namespace: ObjectNamespace, lock_options: LockOptions, clock: Time, unique: str, meanwhile: str
    ) -> None:
        """LK-9: A release with a lost reply is recognised, whatever others did before it is sent again."""
        others = DurableObjectLockManager(lock_namespace, options=lock_options)

        async def act() -> None:
            if "forgotten" in meanwhile:
                assert await others.delete(unique)
            if meanwhile == "another expired":
                await _acquired(others, unique, ttl_ms=20)
                await clock.advance(0.1)
            if meanwhile != "forgotten":
                for _ in range(3):
                    assert await (await _acquired(others, unique)).release()
                await _acquired(others, unique)

        interrupted = _Interrupted(lock_namespace)
        manager = DurableObjectLockManager(interrupted, options=lock_options)
        lock = await _acquired(manager, unique)
        interrupted.between = act
        assert await _while_time_passes(clock, lock.release())
        assert await others.is_locked(unique) == (meanwhile != "forgotten")

    async def test_a_lost_grant_of_one_who_waited_is_asked_for_again(
        self, lock_namespace: ObjectNamespace, lock_options: LockOptions, clock: Time, unique: str
    ) -> None:
        """LK-9: A waiting caller whose reply is lost gets the same grant when it asks again."""
        faulty = FaultyNamespace(lock_namespace)
        manager = DurableObjectLockManager(lock_namespace, options=lock_options)
        holder = await _acquired(manager, unique)
        faulty.fail("after")
        waiting = asyncio.ensure_future(DurableObjectLockManager(faulty, options=lock_options).acquire(unique, wait=20))
        await clock.advance(0.05)
        assert await holder.release()
        lock = await _while_time_passes(clock, waiting)
        assert lock is not None
        assert await lock.release()

    async def test_an_object_out_of_reach(
        self, lock_namespace: ObjectNamespace, lock_options: LockOptions, clock: Time, unique: str
    ) -> None:
        """LK-11: If four attempts get no reply, a LockError says so. The lock can be released again afterwards."""
        faulty = FaultyNamespace(lock_namespace)
        manager = DurableObjectLockManager(faulty, options=lock_options)
        lock = await _acquired(manager, unique)
        faulty.fail("before", "before", "before", "before")
        with pytest.raises(LockError, match=unique) as refused:
            await _while_time_passes(clock, lock.release())
        assert refused.value.outcome_unknown
        assert refused.value.__cause__ is not None
        assert await manager.is_locked(unique)
        assert await lock.release()
        faulty.fail("after", "after", "after", "after")
        with pytest.raises(LockError):
            await _while_time_passes(clock, manager.acquire(unique, ttl=30))
        assert await manager.is_locked(unique)

    async def test_a_cancelled_acquire_leaves_nothing(
        self, lock_manager: DurableObjectLockManager, clock: Time, unique: str
    ) -> None:
        """LK-12: A cancelled acquire leaves the queue, and the next caller is served."""
        holder = await _acquired(lock_manager, unique)
        cancelled = asyncio.ensure_future(lock_manager.acquire(unique, wait=20))
        await clock.advance(0.02)
        waiting = asyncio.ensure_future(lock_manager.acquire(unique, wait=20))
        await clock.advance(0.02)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        await clock.advance(0.05)
        assert await holder.release()
        lock = await _while_time_passes(clock, waiting)
        assert lock is not None
        assert await lock.release()
        assert not await lock_manager.is_locked(unique)

    async def test_remaining_is_never_too_much(
        self, lock_manager: DurableObjectLockManager, clock: Time, unique: str
    ) -> None:
        """LK-14: `remaining()` is less than the ttl, runs down, and is 0 after the release."""
        lock = await _acquired(lock_manager, unique, ttl=LIVE_S)
        assert LIVE_S / 2 < lock.remaining() < LIVE_S
        await clock.advance(0.2)
        assert 0 < lock.remaining() < LIVE_S - 0.2
        assert await lock.release()
        assert lock.remaining() == 0

    async def test_remaining_after_a_wait(
        self, lock_manager: DurableObjectLockManager, clock: Time, unique: str
    ) -> None:
        """LK-14: A caller that has waited longer than its ttl may still rely on its new lease."""
        holder = await _acquired(lock_manager, unique)
        waiting = asyncio.ensure_future(lock_manager.acquire(unique, wait=20, ttl=LIVE_S))
        await clock.advance(LIVE_S + 0.2)
        assert await holder.release()
        # On the host no time may pass here, and in the Worker only a moment.
        lock = await asyncio.wait_for(waiting, 20)
        assert lock is not None
        assert 0 < lock.remaining() < LIVE_S
        assert not lock.lost

    async def test_auto_refresh_keeps_the_lease(
        self, lock_manager: DurableObjectLockManager, clock: Time, unique: str
    ) -> None:
        """LK-15: With auto_refresh a lease outlives its ttl until it is released."""
        lock = await _acquired(lock_manager, unique, ttl=LIVE_S, auto_refresh=True)
        for _ in range(5):
            await clock.advance(LIVE_S / 4)
            assert not lock.lost
        assert await lock_manager.is_locked(unique)
        assert await lock.release()
        assert not await lock_manager.is_locked(unique)

    async def test_auto_refresh_ends(
        self, lock_namespace: ObjectNamespace, lock_options: LockOptions, clock: Time, unique: str
    ) -> None:
        """LK-15: After max_hold nothing refreshes the lease. It expires, and the lock says that it is lost."""
        manager = DurableObjectLockManager(lock_namespace, options=replace(lock_options, max_hold=0.2))
        lock = await _acquired(manager, unique, ttl=0.15, auto_refresh=True)
        await clock.advance(0.45)
        assert lock.lost
        assert not await manager.is_locked(unique)

    async def test_a_block_holds_the_key(self, lock_manager: DurableObjectLockManager, unique: str) -> None:
        """LK-16: `async with` holds the key until its block ends in any way. A held key raises LockNotAcquiredError."""
        async with lock_manager.lock(unique) as lock:
            assert lock.fencing_token > 0
            with pytest.raises(LockNotAcquiredError) as refused:
                async with lock_manager.lock(unique):
                    raise AssertionError("two hold one key")
            assert refused.value.key == unique
        assert not await lock_manager.is_locked(unique)
        with pytest.raises(ZeroDivisionError):
            async with lock_manager.lock(unique):
                raise ZeroDivisionError
        assert not await lock_manager.is_locked(unique)

    async def test_the_end_of_a_block_does_not_raise(
        self, lock_namespace: ObjectNamespace, lock_options: LockOptions, clock: Time, unique: str
    ) -> None:
        """LK-16: The end of a block does not raise when the lease was lost or the object cannot be reached, so the block's work stands."""
        faulty = FaultyNamespace(lock_namespace)
        manager = DurableObjectLockManager(faulty, options=lock_options)

        async def hold() -> str:
            async with manager.lock(unique, ttl=30):
                faulty.fail("before", "before", "before", "before")
            return "done"

        assert await _while_time_passes(clock, hold()) == "done"
        assert await manager.is_locked(unique)
        async with manager.lock(f"{unique}-2", ttl=0.05) as lock:
            await clock.advance(0.1)
            assert lock.lost

    @pytest.mark.parametrize(
        ("options", "error", "text"),
        [
            ({"ttl": 0}, InvalidArgumentError, "ttl"),
            ({"ttl": -1}, InvalidArgumentError, "ttl"),
            ({"ttl": 0.0001}, InvalidArgumentError, "millisecond"),
            ({"ttl": 30_000_000}, InvalidArgumentError, "seconds"),
            ({"ttl": 86_401}, InvalidArgumentError, "ttl_ms"),
            ({"ttl_ms": 86_400_001}, InvalidArgumentError, "milliseconds"),
            ({"ttl": float("nan")}, InvalidArgumentError, "ttl"),
            ({"ttl": 1, "ttl_ms": 1_000}, TypeError, "both"),
            ({"ttl": "30"}, TypeError, "ttl"),
            ({"ttl": True}, TypeError, "ttl"),
            ({"wait": -1}, InvalidArgumentError, "wait"),
            ({"owner": ""}, InvalidArgumentError, "owner"),
            ({"lock_delay": -1}, InvalidArgumentError, "lock_delay"),
            ({"lock_delay": 86_401}, InvalidArgumentError, "seconds"),
        ],
        ids=repr,
    )
    async def test_bad_options_are_refused(
        self,
        lock_manager: DurableObjectLockManager,
        unique: str,
        options: dict[str, Any],
        error: type[Exception],
        text: str,
    ) -> None:
        """LK-17: An option that breaks a rule is refused by name before anything is sent."""
        with pytest.raises(error, match=text):
            await lock_manager.acquire(unique, **options)
        assert not await lock_manager.is_locked(unique)

    @pytest.mark.parametrize("key", ["", "x" * 513, "é" * 257, "a\nb", "__mine", "\ud800"])
    async def test_bad_keys_are_refused(self, lock_manager: DurableObjectLockManager, key: str) -> None:
        """LK-17: Every call refuses keys that break the rule."""
        with pytest.raises(InvalidArgumentError, match="key"):
            await lock_manager.acquire(key)
        with pytest.raises(InvalidArgumentError, match="key"):
            await lock_manager.is_locked(key)
        with pytest.raises(InvalidArgumentError, match="key"):
            async with lock_manager.lock(key):
                raise AssertionError("acquired")

    async def test_an_acquire_and_a_release_are_two_calls(
        self, lock_namespace: ObjectNamespace, lock_options: LockOptions, unique: str
    ) -> None:
        """LK-18: Without contention, acquire and release take one call each."""
        counted = _Counted(lock_namespace)
        manager = DurableObjectLockManager(counted, options=lock_options)
        async with manager.lock(unique):
            assert counted.calls == 1
        assert counted.calls == 2

    async def test_a_delay_after_an_expiry(
        self, lock_manager: DurableObjectLockManager, clock: Time, unique: str
    ) -> None:
        """LK-21: After an expiry nobody gets the key until the lock_delay has passed. After a release there is no delay."""
        async with lock_manager.lock(unique, lock_delay=60):
            pass
        lost = await _acquired(lock_manager, unique, ttl=0.1, lock_delay=LIVE_S)
        await clock.advance(0.2)
        assert await lock_manager.acquire(unique) is None
        assert await lock_manager.is_locked(unique)
        assert not await lost.refresh()
        lock = await _while_time_passes(clock, lock_manager.acquire(unique, wait=5))
        assert lock is not None
        assert lock.fencing_token > lost.fencing_token

    async def test_a_loss_is_told(self, lock_manager: DurableObjectLockManager, clock: Time, unique: str) -> None:
        """LK-22: A holder hears that no time remains while the key is still its own. A holder that has released hears nothing."""
        told: list[str] = []
        released = await _acquired(lock_manager, f"{unique}-released", ttl=LIVE_S)
        released.on("lost", lambda lock: told.append(lock.key))
        assert await released.release()
        lock = await _acquired(lock_manager, unique, ttl=LIVE_S)
        lock.on("lost", lambda lock: told.append(lock.key))
        await clock.advance(0.15)
        assert told == []
        await clock.advance(LIVE_S)
        assert told == [unique]
        assert lock.lost

    async def test_a_block_is_cancelled(self, lock_manager: DurableObjectLockManager, clock: Time, unique: str) -> None:
        """LK-23: With cancel_when_lost a block is cancelled when its lock is lost."""

        async def work() -> None:
            async with lock_manager.lock(unique, ttl=0.2, cancel_when_lost=True):
                await asyncio.get_running_loop().create_future()

        with pytest.raises(LockLostError) as lost:
            await _while_time_passes(clock, work())
        assert lost.value.key == unique

    async def test_a_deleted_key_counts_on(self, lock_manager: DurableObjectLockManager, unique: str) -> None:
        """LK-2, LK-24: A free key can be forgotten, and a held key cannot. Tokens of a forgotten key still rise."""
        assert await lock_manager.delete(unique)
        lock = await _acquired(lock_manager, unique)
        assert not await lock_manager.delete(unique)
        assert await lock.release()
        assert await lock_manager.delete(unique)
        assert not await lock_manager.is_locked(unique)
        again = await _acquired(lock_manager, unique)
        assert again.fencing_token > lock.fencing_token

    async def test_a_cancelled_end_gives_everything_back(
        self, lock_manager: DurableObjectLockManager, clock: Time, unique: str
    ) -> None:
        """LK-12, LK-16, LK-25: A block that is cancelled during its end still gives all locks back, and ends as cancelled."""
        keys = [f"{unique}-{letter}" for letter in "abc"]

        async def hold(entered: asyncio.Event) -> None:
            async with lock_manager.locks(keys, ttl=20, auto_refresh=True):
                entered.set()

        for steps in range(4):
            entered = asyncio.Event()
            task = asyncio.ensure_future(hold(entered))
            await _while_time_passes(clock, entered.wait())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await _while_time_passes(clock, task)
            assert [key for key in keys if await lock_manager.is_locked(key)] == []

    async def test_several_keys(self, lock_manager: DurableObjectLockManager, clock: Time, unique: str) -> None:
        """LK-25: Several keys are held together or not at all. Callers that name them in different orders do not wait in a circle."""
        keys = [f"{unique}-{letter}" for letter in "abc"]
        held = await _acquired(lock_manager, keys[1])
        assert await lock_manager.acquire_all(keys) is None
        assert not await lock_manager.is_locked(keys[0])
        assert await held.release()
        turns: list[int] = []

        async def turn(number: int) -> None:
            named = keys if number % 2 else list(reversed(keys))
            async with lock_manager.locks(named, wait=20) as locks:
                assert sorted(locks) == keys
                assert not locks.lost
                turns.append(number)

        await _while_time_passes(clock, asyncio.gather(*(turn(number) for number in range(6))))
        assert sorted(turns) == list(range(6))
        for key in keys:
            assert not await lock_manager.is_locked(key)

    async def test_shards(self, lock_namespace: ObjectNamespace, lock_options: LockOptions, unique: str) -> None:
        """LK-24, LK-26: Keys of the same object are independent. A clean-up forgets the free keys."""
        manager = DurableObjectLockManager(lock_namespace, options=replace(lock_options, shards=1))
        keys = [f"{unique}-{number}" for number in range(5)]
        locks = [await _acquired(manager, key) for key in keys]
        for lock in locks[1:]:
            assert await lock.release()
        assert await manager.clean_up(idle=0) >= 4
        assert await manager.is_locked(keys[0])
        for lock in locks[1:]:
            assert (await _acquired(manager, lock.key)).fencing_token > lock.fencing_token
        assert await locks[0].refresh()
