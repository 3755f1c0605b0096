"""What a holder is told: the loss of its lock, in time; and what it holds together with others."""

import asyncio
import gc
import warnings
from datetime import timedelta

import pytest

from agents_store_cloudflare.contract.errors import InvalidArgumentError, LockError, LockLostError, LockNotAcquiredError
from agents_store_cloudflare.contract.locks import Lock
from agents_store_cloudflare.locks import DurableObjectLockManager, LockObject, LockOptions
from agents_store_cloudflare.objects import ObjectCallError
from agents_store_cloudflare.testing import LocalObjects
from tests.counting_clock import CountingClock


class Reachable:
    """Objects that a test can cut off."""

    def __init__(self, objects: LocalObjects) -> None:
        self.objects = objects
        self.is_cut_off = False
        self.hangs = False
        self.overloads = False
        self.reply_gate: asyncio.Event | None = None

    async def call(self, name: str, request: str) -> str:
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        if self.overloads:
            raise ObjectCallError("Durable Object is overloaded.", overloaded=True)
        if self.is_cut_off:
            raise ObjectCallError("Network connection lost.", retryable=True)
        reply = await self.objects.call(name, request)
        if self.reply_gate is not None:
            await self.reply_gate.wait()
        return reply


@pytest.fixture
def clock() -> CountingClock:
    return CountingClock()


@pytest.fixture
def objects(clock: CountingClock) -> Reachable:
    return Reachable(LocalObjects(LockObject, clock=clock))


@pytest.fixture
def options(clock: CountingClock) -> LockOptions:
    return LockOptions(now_s=lambda: clock.now_ms() / 1000, sleep=clock.sleep, default_ttl=30)


@pytest.fixture
def manager(objects: Reachable, options: LockOptions) -> DurableObjectLockManager:
    return DurableObjectLockManager(objects, options=options)


@pytest.mark.parametrize("way", ["cut_off", "hangs"])
async def test_a_loss_is_told_before_another_can_hold_the_key(
    objects: Reachable, manager: DurableObjectLockManager, clock: CountingClock, way: str
) -> None:
    """LK-22: An auto-refresh that gets no answer sets `lost` while the object still counts the key as held."""
    lock = await manager.acquire("k", auto_refresh=True)
    assert lock is not None
    told: list[tuple[Lock, int]] = []
    lock.on("lost", lambda lost: told.append((lost, clock.now_ms())))
    await clock.advance(12)
    ends_at = lock.expires_at
    setattr(objects, "is_cut_off" if way == "cut_off" else "hangs", True)
    while not told:
        await clock.advance(0.5)
        assert clock.now_ms() < ends_at, "somebody else may hold it by now"
    assert told[0][0] is lock
    assert told[0][1] < ends_at
    assert lock.lost
    assert lock.remaining() == 0
    await clock.advance(60)
    assert len(told) == 1


async def test_a_late_reply_does_not_undo_a_loss(
    objects: Reachable, manager: DurableObjectLockManager, clock: CountingClock
) -> None:
    """LK-22: After a loss is reported, a late reply to a refresh does not take it back."""
    lock = await manager.acquire("k", ttl=10)
    assert lock is not None
    told: list[Lock] = []
    lock.on("lost", told.append)
    await clock.advance(5)
    objects.reply_gate = asyncio.Event()
    refreshing = asyncio.ensure_future(lock.refresh())
    await clock.advance(4.9)
    assert told == [lock]
    objects.reply_gate.set()
    assert not await refreshing
    assert lock.lost
    assert await manager.is_locked("k")
    assert await lock.release()
    assert not await manager.is_locked("k")


async def test_a_refusal_tells_at_once(manager: DurableObjectLockManager, clock: CountingClock) -> None:
    """LK-22: A refused refresh is a loss. A callback that is registered later is called at once."""
    lock = await manager.acquire("k", ttl=10)
    assert lock is not None
    told: list[str] = []
    unsubscribe = lock.on("lost", lambda _: told.append("never"))
    unsubscribe()
    unsubscribe()
    lock.on("lost", lambda _: told.append("first"))
    clock.set(clock.now_ms() + 11_000)
    assert not await lock.refresh()
    assert told == ["first"]
    lock.on("lost", lambda _: told.append("late"))
    assert told == ["first", "late"]


async def test_a_release_is_no_loss(manager: DurableObjectLockManager, clock: CountingClock) -> None:
    """LK-22: A released lock reports no loss and leaves no timer."""
    lock = await manager.acquire("k", ttl=10, auto_refresh=True)
    assert lock is not None
    told: list[Lock] = []
    lock.on("lost", told.append)
    assert await lock.release()
    await clock.advance(100)
    assert told == []
    assert clock.pending == set()


@pytest.mark.parametrize("ttl", [10, 0.015])
async def test_the_watch_starts_the_refreshes(
    manager: DurableObjectLockManager, clock: CountingClock, ttl: float
) -> None:
    """LK-22: Until its first refresh is due, a lock has one task. It is refreshed also after nobody listens for its loss any more.

    A lease that ends before its first refresh is due is told as lost.
    """
    before = asyncio.all_tasks()
    lock = await manager.acquire("k", ttl=ttl, auto_refresh=True)
    assert lock is not None
    told: list[Lock] = []
    lock.on("lost", print)()
    assert len(asyncio.all_tasks() - before) == 1
    if ttl == 10:
        assert await lock.refresh(ttl=3)  # its pauses are shorter from now on
        await clock.advance(60)
        assert not lock.lost
        assert await lock.release()
    else:
        lock.on("lost", told.append)
        await clock.advance(0.015)
        assert told == [lock]


async def test_a_release_that_failed_is_none(
    objects: Reachable, manager: DurableObjectLockManager, clock: CountingClock
) -> None:
    """LK-22: A holder whose release failed still hears when its lease ends."""
    lock = await manager.acquire("k", ttl=100)
    assert lock is not None
    told: list[Lock] = []
    lock.on("lost", told.append)
    objects.is_cut_off = True
    releasing = asyncio.ensure_future(lock.release())
    await clock.advance(20)
    with pytest.raises(LockError):
        await releasing
    await clock.advance(100)
    assert told == [lock]


async def test_a_callback_that_fails_stops_nothing(
    manager: DurableObjectLockManager, clock: CountingClock, caplog: pytest.LogCaptureFixture
) -> None:
    """LK-22: The other callbacks are called, and the log has the error."""
    lock = await manager.acquire("k", ttl=1)
    assert lock is not None
    told: list[Lock] = []
    lock.on("lost", lambda _: 1 / 0)
    lock.on("lost", told.append)
    await clock.advance(2)
    assert told == [lock]
    assert "ZeroDivisionError" in caplog.text


async def test_one_callback_registered_twice(manager: DurableObjectLockManager, clock: CountingClock) -> None:
    """LK-22: Ending one registration twice leaves the other one."""
    lock = await manager.acquire("k", ttl=1)
    assert lock is not None
    told: list[str] = []

    def tell(lost: Lock) -> None:
        told.append(lost.key)

    end = lock.on("lost", tell)
    lock.on("lost", tell)
    end()
    end()
    await clock.advance(2)
    assert told == ["k"]


async def test_keys_that_change_before_the_block(manager: DurableObjectLockManager) -> None:
    """LK-25: `locks` holds the keys that it was given, whatever becomes of the caller's list."""
    keys = ["a", "b"]
    block = manager.locks(keys)
    keys.remove("a")
    async with block as held:
        assert sorted(held) == ["a", "b"]


async def test_events_and_callbacks_are_checked(manager: DurableObjectLockManager) -> None:
    """LK-17: An unknown event and a callback that is not callable are refused by name."""
    lock = await manager.acquire("k")
    assert lock is not None
    with pytest.raises(InvalidArgumentError, match="won"):
        lock.on("won", print)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="callback"):
        lock.on("lost", None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def _cut_off_in_its_block(objects: Reachable, manager: DurableObjectLockManager, body: str) -> str:
    """Enter a block whose lock is lost inside it."""
    async with manager.lock("k", ttl=10, cancel_when_lost=True) as lock:
        objects.hangs = True
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            if body == "cleans up and fails":
                raise ZeroDivisionError from None
            if body != "goes on":
                raise
        finally:
            objects.hangs = False
        assert lock.lost
    return "done"


@pytest.mark.parametrize(
    ("body", "error"),
    [("waits", LockLostError), ("goes on", LockLostError), ("cleans up and fails", ZeroDivisionError)],
)
async def test_a_block_is_cancelled_when_its_lock_is_lost(
    objects: Reachable, manager: DurableObjectLockManager, clock: CountingClock, body: str, error: type[Exception]
) -> None:
    """LK-23: With cancel_when_lost a block ends, before another can hold the key, with LockLostError or its own error."""
    task = asyncio.ensure_future(_cut_off_in_its_block(objects, manager, body))
    await clock.advance(9.7)
    assert not task.done()
    await clock.advance(0.2)
    with pytest.raises(error):
        await task
    assert task.cancelling() == 0
    assert clock.pending == set()


async def test_a_block_that_finds_out_by_itself(manager: DurableObjectLockManager, clock: CountingClock) -> None:
    """LK-23: If a refresh in the block's last line finds the loss, the block ends with LockLostError. Nothing later is cancelled."""

    async def work() -> None:
        async with manager.lock("k", ttl=1, cancel_when_lost=True) as lock:
            clock.set(clock.now_ms() + 1_100)
            assert not await lock.refresh()

    with pytest.raises(LockLostError) as lost:
        await work()
    assert lost.value.key == "k"
    await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_cancellation_from_outside_stays_one(
    objects: Reachable, manager: DurableObjectLockManager, clock: CountingClock
) -> None:
    """LK-23: A block that somebody else cancels ends with that cancellation, with or without a lost lock."""
    for elapsed_ms in (1_000, 9_900):
        task = asyncio.ensure_future(_cut_off_in_its_block(objects, manager, "waits"))
        await clock.advance(0)
        clock.set(clock.now_ms() + elapsed_ms)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await clock.advance(20)


async def test_a_block_that_keeps_its_lock_is_not_cancelled(
    manager: DurableObjectLockManager, clock: CountingClock
) -> None:
    """LK-23: A block that ends in time ends normally."""
    async with manager.lock("k", ttl=1, cancel_when_lost=True):
        await asyncio.sleep(0)
    await clock.advance(5)
    assert clock.pending == set()


async def test_two_that_want_the_same_keys_do_not_wait_in_a_circle(
    manager: DurableObjectLockManager, clock: CountingClock
) -> None:
    """LK-25: In any order of the keys, every caller gets all its keys in the end, one caller after the other."""
    inside = 0
    turns: list[int] = []

    async def turn(number: int, keys: list[str]) -> None:
        nonlocal inside
        async with manager.locks(keys, wait=600) as locks:
            assert set(locks) == set(keys)
            inside += 1
            assert inside == 1
            await clock.sleep(1)
            inside -= 1
            turns.append(number)

    orders = [["a", "b", "c"], ["c", "b", "a"], ["b", "a", "c", "b"], ["c", "a", "b"]]
    work = [asyncio.ensure_future(turn(number, orders[number % 4])) for number in range(12)]
    await clock.advance(60)
    await asyncio.gather(*work)
    assert sorted(turns) == list(range(12))
    assert clock.pending == set()


async def test_all_or_none(manager: DurableObjectLockManager, objects: Reachable, clock: CountingClock) -> None:
    """LK-25: If one key is held, no key stays taken, and the error names the held key."""
    held = await manager.acquire("b")
    assert held is not None
    assert await manager.acquire_all(["c", "b", "a"]) is None
    with pytest.raises(LockNotAcquiredError) as refused:
        async with manager.locks(["c", "b", "a"]):
            raise AssertionError("b is held")
    assert refused.value.key == "b"
    waiting = asyncio.ensure_future(manager.acquire_all(["c", "b", "a"], wait=2))
    await clock.advance(1)
    assert await manager.is_locked("a")
    assert not await manager.is_locked("c")
    await clock.advance(1.1)
    assert await waiting is None
    assert not await manager.is_locked("a")
    assert clock.pending == set()


@pytest.mark.parametrize("way", ["cancelled", "cut off"])
async def test_what_was_taken_on_the_way_is_given_back(
    manager: DurableObjectLockManager, objects: Reachable, clock: CountingClock, way: str
) -> None:
    """LK-25: An acquire_all that is cancelled or fails leaves no key held and no waiter in a queue."""
    held = await manager.acquire("b", ttl=1_000)
    assert held is not None
    waiting = asyncio.ensure_future(manager.acquire_all(["a", "b"], wait=20, ttl=60))
    await clock.advance(1)
    if way == "cancelled":
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    else:
        objects.objects.restart()
        objects.is_cut_off = True
        await clock.advance(100)
        with pytest.raises(LockError) as failed:
            await waiting
        assert failed.value.outcome_unknown
        objects.is_cut_off = False
    await clock.advance(61)
    assert not await manager.is_locked("a")
    assert await held.release()
    assert not await manager.is_locked("b")
    assert clock.pending == set()


async def test_what_is_held_is_kept_while_the_rest_is_waited_for(
    manager: DurableObjectLockManager, clock: CountingClock
) -> None:
    """LK-25: A wait longer than the ttl loses no key. Afterwards the keys last for the rest of the ttl, and end by themselves."""
    held = await manager.acquire("b", ttl=1_000)
    assert held is not None
    waiting = asyncio.ensure_future(manager.acquire_all(["a", "b"], wait=200, ttl=30))
    await clock.advance(100)
    await held.release()
    locks = await waiting
    assert locks is not None
    assert not locks.lost
    assert 19 < locks.remaining() < 30
    assert locks["a"].fencing_token < locks["b"].fencing_token
    await clock.advance(31)
    assert locks.remaining() == 0
    assert not await manager.is_locked("a")
    assert clock.pending == set()


async def test_a_key_lost_on_the_way_begins_again(
    manager: DurableObjectLockManager, objects: Reachable, clock: CountingClock, caplog: pytest.LogCaptureFixture
) -> None:
    """LK-25: If a lock is lost before the last one is granted, all are acquired again while there is time."""
    held = await manager.acquire("b", ttl=50)
    assert held is not None
    waiting = asyncio.ensure_future(manager.acquire_all(["a", "b"], wait=300, ttl=10))
    await clock.advance(1)
    objects.is_cut_off = True  # nothing gets through, while the wait for b is on its way
    await clock.advance(40)
    objects.is_cut_off = False
    while not waiting.done():
        await clock.advance(1)
    locks = await waiting
    assert locks is not None
    assert not locks.lost
    assert "lock 'a' was lost before it was given back" in caplog.text
    for key in ("a", "b"):
        assert await manager.is_locked(key)
    assert await locks.release()


async def test_locks_are_released_together(
    manager: DurableObjectLockManager, objects: Reachable, clock: CountingClock
) -> None:
    """LK-25: A release gives all keys back and returns whether all were held. One unreachable object does not stop it."""
    locks = await manager.acquire_all(["a", "b"], auto_refresh=True)
    assert locks is not None
    await clock.advance(100)
    assert not locks.lost
    assert await locks["b"].release()
    assert not await locks.release()
    assert not await manager.is_locked("a")
    locks = await manager.acquire_all(["a", "b"])
    assert locks is not None
    objects.is_cut_off = True
    failing = asyncio.ensure_future(locks.release())
    await clock.advance(10)
    with pytest.raises(LockError):
        await failing
    objects.is_cut_off = False
    assert await locks.release()


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ([], InvalidArgumentError),
        ("ab", TypeError),
        ([f"k{n}" for n in range(101)], InvalidArgumentError),
        (["a", ""], InvalidArgumentError),
    ],
    ids=["none", "text", "too many", "bad"],
)
async def test_bad_keys_are_refused(
    manager: DurableObjectLockManager, objects: Reachable, keys: list[str], error: type[Exception]
) -> None:
    """LK-17: An invalid collection of keys is refused before anything is sent."""
    with pytest.raises(error, match="key"):
        await manager.acquire_all(keys)
    with pytest.raises(error, match="key"):
        async with manager.locks(keys):
            raise AssertionError("acquired")
    assert objects.objects.calls == 0


async def test_one_loss_ends_the_block_of_all(
    manager: DurableObjectLockManager, objects: Reachable, clock: CountingClock
) -> None:
    """LK-23, LK-25: With cancel_when_lost a block over several keys ends with the first loss."""

    async def work() -> None:
        async with manager.locks(["a", "b"], ttl=10, cancel_when_lost=True) as locks:
            assert await locks["a"].refresh(ttl=60)
            await asyncio.get_running_loop().create_future()

    task = asyncio.ensure_future(work())
    await clock.advance(9.9)
    with pytest.raises(LockLostError) as lost:
        await task
    assert lost.value.key == "b"
    assert not await manager.is_locked("a")


async def _used(manager: DurableObjectLockManager, call: str, keys: list[str]) -> None:
    match call:
        case "acquire" | "release":
            lock = await manager.acquire("a", ttl=600, auto_refresh=call == "acquire")
            assert lock is not None
            assert await lock.release()
        case "acquire_all" | "release all":
            locks = await manager.acquire_all(keys, ttl=600, wait=5 if call == "acquire_all" else None)
            assert locks is not None
            assert await locks.release()
        case "lock" | "refresh":
            async with manager.lock("a", ttl=600, auto_refresh=True, cancel_when_lost=True) as held:
                assert call == "lock" or await held.refresh()
        case _:
            async with manager.locks(keys, ttl=600, auto_refresh=True):
                await asyncio.sleep(0)


@pytest.mark.parametrize("call", ["acquire", "acquire_all", "lock", "locks", "release", "release all", "refresh"])
async def test_a_cancellation_leaves_nothing(
    objects: Reachable, manager: DurableObjectLockManager, clock: CountingClock, call: str
) -> None:
    """LK-12, LK-16, LK-25: A call or block that is cancelled at any suspension leaves no lock, waiter, timer or task."""
    keys = ["a", "b", "c"]
    before = asyncio.all_tasks()
    for steps in range(100):
        task = asyncio.ensure_future(_used(manager, call, keys))
        for _ in range(steps):
            await asyncio.sleep(0)
        if task.done():
            break
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for key in keys:
            assert not await manager.is_locked(key), f"{key} is left behind after {steps} steps"
        await clock.advance(0)
        assert asyncio.all_tasks() == before
        assert clock.pending == set()
    else:
        raise AssertionError("it never ends")
    assert steps > 2


async def test_a_cancelled_call_does_not_wait_for_ever(
    objects: Reachable, manager: DurableObjectLockManager, clock: CountingClock
) -> None:
    """LK-16: If the object does not answer, a cancellation goes on after 5 seconds, or at a second cancellation."""
    for seconds, again in ((5.1, False), (0, True)):
        lock = await manager.acquire("k", ttl=10)
        assert lock is not None
        objects.hangs = True
        task = asyncio.ensure_future(lock.release())
        await clock.advance(0)
        task.cancel()
        await clock.advance(seconds)
        if again:
            assert not task.done()
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        objects.hangs = False
        await clock.advance(20)


async def test_two_releases_at_once(
    manager: DurableObjectLockManager, objects: Reachable, clock: CountingClock
) -> None:
    """LK-7: One of two simultaneous releases returns True, and the key is free when either returns."""
    lock = await manager.acquire("k")
    assert lock is not None
    assert list(await asyncio.gather(lock.release(), lock.release())) == [True, False]
    assert not await manager.is_locked("k")
    assert not await lock.refresh()
    assert not lock.lost


async def test_two_refreshes_at_once_count_as_the_shorter(
    objects: Reachable, manager: DurableObjectLockManager, clock: CountingClock
) -> None:
    """LK-14: The order of two simultaneous refreshes is unknown, so `remaining` follows the shorter one."""
    lock = await manager.acquire("k", ttl=10)
    assert lock is not None
    assert all(await asyncio.gather(lock.refresh(60), lock.refresh(1)))
    assert lock.remaining() < 1
    assert all(await asyncio.gather(lock.refresh(1), lock.refresh(60)))
    assert lock.remaining() < 1


async def test_a_shorter_ttl_is_watched(manager: DurableObjectLockManager, clock: CountingClock) -> None:
    """LK-15, LK-22: After a refresh to a shorter ttl, auto-refresh and the watch for the loss use it."""
    lock = await manager.acquire("k", ttl=600, auto_refresh=True)
    assert lock is not None
    await clock.advance(0)
    assert await lock.refresh(2)
    await clock.advance(30)
    assert not lock.lost
    lock.stop_background()
    told: list[Lock] = []
    lock.on("lost", told.append)
    await clock.advance(2)
    assert told == [lock]


async def test_a_lock_says_what_it_is(manager: DurableObjectLockManager) -> None:
    """A lock's repr names its key, token, owner and state."""
    lock = await manager.acquire("k", owner="me")
    assert lock is not None
    assert repr(lock).startswith(f"<Lock 'k' token {lock.fencing_token} owner 'me': 29.")
    await lock.release()
    assert repr(lock).endswith("released>")


async def test_the_same_lock_twice_names_its_owner(manager: DurableObjectLockManager, objects: Reachable) -> None:
    """LK-30: A block inside a block on the same key gets an error that names the same holder. Other callers do not."""
    async with manager.lock("k", owner="worker-1"):
        with pytest.raises(LockNotAcquiredError, match=r"owner 'worker-1'.*not re-entrant") as refused:
            async with manager.lock("k"):
                pass
        assert refused.value.owner == "worker-1"
        with pytest.raises(LockNotAcquiredError, match="not re-entrant"):
            async with manager.locks(["j", "k"]):
                pass
        stranger = DurableObjectLockManager(objects)
        with pytest.raises(LockNotAcquiredError, match="held by somebody else") as refused:
            async with stranger.lock("k"):
                pass
        assert refused.value.owner is None
    assert await manager.acquire("k"), "nothing was left behind"


@pytest.mark.filterwarnings("default::UserWarning")
async def test_a_ttl_that_looks_like_milliseconds_warns(manager: DurableObjectLockManager) -> None:
    """LK-31: the lease is granted as asked, with a warning that names the other spelling."""
    with pytest.warns(UserWarning, match=r"ttl=30,000 is a lease of 8.3 hours.*ttl_ms") as told:
        assert await manager.acquire("k", ttl=30_000)
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert await manager.acquire("m", ttl_ms=30_000)
        assert await manager.acquire("h", ttl=timedelta(hours=8))
        assert await manager.acquire("s", ttl=3_600)


async def test_two_releases_of_which_one_gets_no_reply(
    objects: Reachable, manager: DurableObjectLockManager, clock: CountingClock
) -> None:
    """LK-7: The lock is released when one of them returns, and that one returns True."""
    lock = await manager.acquire("k")
    assert lock is not None
    call, lost = objects.call, set[asyncio.Task[bool] | None]()

    async def lossy(name: str, request: str) -> str:
        reply = await call(name, request)
        if asyncio.current_task() in lost:
            raise ObjectCallError("Network connection lost.", retryable=True)
        return reply

    objects.call = lossy  # type: ignore[method-assign]
    first = asyncio.ensure_future(lock.release())
    lost.add(first)
    await asyncio.sleep(0)
    second = asyncio.ensure_future(lock.release())
    assert await second is True
    await clock.advance(10)
    with pytest.raises(LockError):
        await first
    assert (lock.remaining(), lock.lost, await lock.release()) == (0, False, False)


async def test_a_block_that_cannot_give_back_leaves_nothing(
    objects: Reachable, manager: DurableObjectLockManager
) -> None:
    """LK-16: The failed release is logged. No task stays, and no warning about a dropped lock comes."""
    before = asyncio.all_tasks()

    async def work() -> None:
        async with manager.lock("left", auto_refresh=True, cancel_when_lost=True):
            objects.overloads = True

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        await work()
        await asyncio.sleep(0)
        gc.collect()
    assert not [each for each in warned if "'left'" in str(each.message)]
    assert asyncio.all_tasks() <= before


async def test_a_subscription_that_ends_leaves_no_task(manager: DurableObjectLockManager) -> None:
    """LK-22: No task waits for the loss when no callback is left."""
    async with manager.lock("k") as lock:
        before = asyncio.all_tasks()
        stops = [lock.on("lost", lambda _lock: None) for _ in range(2)]
        assert len(asyncio.all_tasks()) == len(before) + 1
        for stop in stops:
            stop()
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before
