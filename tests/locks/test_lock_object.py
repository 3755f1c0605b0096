"""A lock's object as its callers cannot see it: restarts, callers that vanish, timers, its own failures."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from agents_store_cloudflare.contract.errors import InvalidArgumentError, LockError
from agents_store_cloudflare.locks import DurableObjectLockManager, LockObject, LockOptions
from agents_store_cloudflare.objects import ObjectCallError
from agents_store_cloudflare.objects.rpc_text import encode_request
from agents_store_cloudflare.testing import LocalObjects
from tests.counting_clock import CountingClock


@pytest.fixture
def clock() -> CountingClock:
    return CountingClock()


@pytest.fixture
def objects(clock: CountingClock) -> LocalObjects:
    return LocalObjects(LockObject, clock=clock)


@pytest.fixture
def manager(objects: LocalObjects, clock: CountingClock) -> DurableObjectLockManager:
    async def no_pause(seconds: float) -> None:
        await asyncio.sleep(0)

    return DurableObjectLockManager(objects, options=LockOptions(now_s=lambda: clock.now_ms() / 1000, sleep=no_pause))


def _acquire_request(request_id: str, *, wait_ms: int = 0, ttl_ms: int = 1_000) -> str:
    return encode_request(
        "acquire", {"key": "k", "owner": "o", "requestId": request_id, "ttlMs": ttl_ms, "waitMs": wait_ms}
    )


async def _ask(objects: LocalObjects, request: str) -> Any:
    return json.loads(await objects.call("k", request))["ok"]


async def test_a_hundred_waiters_are_served_in_order(
    objects: LocalObjects, manager: DurableObjectLockManager, clock: CountingClock
) -> None:
    """LK-8: A hundred waiters for one key are all served in order with two calls each, and no timer is left."""
    served: list[int] = []

    async def turn(number: int) -> None:
        async with manager.lock("k", wait=600):
            served.append(number)

    holder = await manager.acquire("k")
    assert holder is not None
    turns = [asyncio.ensure_future(turn(number)) for number in range(100)]
    await clock.advance(1)
    await holder.release()
    await asyncio.gather(*turns)
    assert served == list(range(100))
    assert objects.calls == 202
    assert clock.pending == set()


async def test_waiters_come_back_after_a_restart(
    objects: LocalObjects, manager: DurableObjectLockManager, clock: CountingClock
) -> None:
    """LK-3, LK-10: A restart keeps the lease and its token. The waiters ask again by themselves and are served."""
    holder = await manager.acquire("k")
    assert holder is not None
    waiting = [asyncio.ensure_future(manager.acquire("k", wait=20, ttl=1)) for _ in range(3)]
    await clock.advance(1)
    objects.restart()
    await clock.advance(1)
    assert await manager.is_locked("k")
    assert await holder.refresh()
    assert await holder.release()
    for _ in range(3):
        await clock.advance(1.1)
    locks = await asyncio.gather(*waiting)
    tokens = [holder.fencing_token, *(lock.fencing_token for lock in locks if lock is not None)]
    assert len(set(tokens)) == 4
    assert min(tokens) == holder.fencing_token


async def test_a_caller_that_vanished_holds_nobody_beyond_its_ttl(objects: LocalObjects, clock: CountingClock) -> None:
    """LK-13: An uncollected grant holds the key until its ttl ends. Then the next waiter gets it."""
    held = await _ask(objects, _acquire_request("a"))
    vanished = asyncio.ensure_future(objects.call("k", _acquire_request("b", wait_ms=60_000)))
    await clock.advance(0.1)
    vanished.cancel()
    waiting = asyncio.ensure_future(_ask(objects, _acquire_request("c", wait_ms=60_000)))
    await clock.advance(0.1)
    assert await _ask(objects, encode_request("release", {"key": "k", "fencingToken": held["fencingToken"]}))
    await clock.advance(0.9)
    assert not waiting.done()
    await clock.advance(0.1)
    granted = await waiting
    assert granted["fencingToken"] > held["fencingToken"]


async def test_a_request_asked_again_keeps_its_place(objects: LocalObjects, clock: CountingClock) -> None:
    """LK-8, LK-9: A waiter that asks again keeps its place. Both calls get the same grant, and the next waiter follows."""
    held = await _ask(objects, _acquire_request("a"))
    first = asyncio.ensure_future(_ask(objects, _acquire_request("b", wait_ms=60_000)))
    await clock.advance(0.01)
    later = asyncio.ensure_future(_ask(objects, _acquire_request("c", wait_ms=60_000)))
    await clock.advance(0.01)
    again = asyncio.ensure_future(_ask(objects, _acquire_request("b", wait_ms=60_000)))
    await clock.advance(0.01)
    assert await _ask(objects, encode_request("release", {"key": "k", "fencingToken": held["fencingToken"]}))
    granted = await first
    assert (await again)["fencingToken"] == granted["fencingToken"]
    assert not later.done()
    await clock.advance(1)
    assert (await later)["fencingToken"] > granted["fencingToken"]


async def test_a_request_asked_for_the_last_time_leaves_the_queue(objects: LocalObjects, clock: CountingClock) -> None:
    """LK-8: A waiter whose last call does not wait gets None, and is granted nothing later."""
    await _ask(objects, _acquire_request("a"))
    waiting = asyncio.ensure_future(_ask(objects, _acquire_request("b", wait_ms=60_000)))
    await clock.advance(0.01)
    assert await _ask(objects, _acquire_request("b")) is None
    assert await waiting is None
    await clock.advance(1)
    assert not await _ask(objects, encode_request("is_locked", {"key": "k"}))
    assert clock.pending == set()


async def test_a_released_request_does_not_wait(objects: LocalObjects, clock: CountingClock) -> None:
    """LK-9: An acquire that arrives again after its release neither holds nor waits."""
    held = await _ask(objects, _acquire_request("a"))
    await _ask(objects, encode_request("release", {"key": "k", "fencingToken": held["fencingToken"]}))
    assert await _ask(objects, _acquire_request("a", wait_ms=60_000)) is None
    assert not await _ask(objects, encode_request("is_locked", {"key": "k"}))
    assert clock.pending == set()


async def test_a_cancelled_acquire_gives_back_what_it_was_granted(
    objects: LocalObjects, manager: DurableObjectLockManager, clock: CountingClock
) -> None:
    """LK-12: An acquire that is cancelled while its grant is on the way releases the key."""
    cancelled = asyncio.ensure_future(manager.acquire("k", ttl=3_600))
    await asyncio.sleep(0)
    assert objects.calls == 1
    cancelled.cancel()
    await clock.advance(0.1)
    assert cancelled.cancelled()
    assert objects.calls == 2
    assert await manager.acquire("k") is not None


async def test_a_request_id_is_not_enough_to_hold_twice(objects: LocalObjects) -> None:
    """LK-1, LK-9: The same request gets the same grant. Another request of the same owner gets none."""
    first = await _ask(objects, _acquire_request("a"))
    assert await _ask(objects, _acquire_request("a")) == first
    assert await _ask(objects, _acquire_request("b")) is None


async def test_what_is_not_ours_stays_inside(
    clock: CountingClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LK-20: An internal error reaches callers and waiters only as an id. The object's log has the cause."""
    hosts: list[Any] = []

    def logic(host: Any) -> LockObject:
        hosts.append(host)
        return LockObject(host)

    objects = LocalObjects(logic, clock=clock)
    manager = DurableObjectLockManager(objects, options=LockOptions(now_s=lambda: clock.now_ms() / 1000))
    assert await manager.acquire("k", ttl=1) is not None
    waiting = asyncio.ensure_future(manager.acquire("k", wait=20))
    await clock.advance(0.1)

    def fails(*_parameters: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(hosts[0].sql, "get_text", fails)
    with caplog.at_level(logging.ERROR, "agents_store_cloudflare.locks"):
        await clock.advance(1)
        for call in (waiting, manager.acquire("k"), manager.is_locked("k")):
            with pytest.raises(LockError, match="its log has the cause") as refused:
                await call
            assert refused.value.outcome_unknown
            assert "ZeroDivision" not in str(refused.value)
    assert "ZeroDivisionError" in caplog.text


async def test_an_unknown_operation_is_refused(objects: LocalObjects) -> None:
    """LK-20: An unknown operation is refused by name."""
    reply = json.loads(await objects.call("k", encode_request("steal", {"key": "k"})))
    assert reply["error"]["code"] == InvalidArgumentError.code
    assert "steal" in reply["error"]["facts"]["message"]


async def test_an_overloaded_object_is_asked_once(clock: CountingClock) -> None:
    """LK-11: A call to an overloaded object is not repeated."""

    class Overloaded:
        calls = 0

        async def call(self, name: str, request: str) -> str:
            self.calls += 1
            raise ObjectCallError("Durable Object is overloaded.", overloaded=True)

    overloaded = Overloaded()
    with pytest.raises(LockError, match="in 1 attempts"):
        await DurableObjectLockManager(overloaded).acquire("k")
    assert overloaded.calls == 1


async def test_auto_refresh_outlives_a_bad_moment(clock: CountingClock, caplog: pytest.LogCaptureFixture) -> None:
    """LK-15: While the object cannot be reached, auto-refresh tries again and `remaining` falls. At 0 the lock is lost."""
    inner = LocalObjects(LockObject, clock=clock)

    class Unreliable:
        is_down = False

        async def call(self, name: str, request: str) -> str:
            if self.is_down:
                raise ObjectCallError("Network connection lost.", retryable=True)
            return await inner.call(name, request)

    async def sleep(seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        cancel = clock.call_at(clock.now_ms() + round(seconds * 1000), lambda: woken.set_result(None))
        try:
            await woken
        finally:
            cancel()

    unreliable = Unreliable()
    options = LockOptions(now_s=lambda: clock.now_ms() / 1000, sleep=sleep)
    lock = await DurableObjectLockManager(unreliable, options=options).acquire("k", ttl=30, auto_refresh=True)
    assert lock is not None
    await clock.advance(25)
    unreliable.is_down = True
    await clock.advance(15)
    assert 0 < lock.remaining() < 15
    unreliable.is_down = False
    await clock.advance(10)
    assert lock.remaining() > 15
    unreliable.is_down = True
    await clock.advance(31)
    assert lock.lost
    assert "is lost" in caplog.text


async def test_a_waiter_is_out_of_the_queue_before_it_is_told(clock: CountingClock) -> None:
    """LK-8: A release at the moment when a wait ends gives the key to nobody."""
    made: list[LockObject] = []
    timers: list[Callable[[], None]] = []

    def logic(host: Any) -> LockObject:
        call_later: Callable[[int, Callable[[], None]], Callable[[], None]] = host.call_later

        def watched(delay_ms: int, callback: Callable[[], None]) -> Callable[[], None]:
            timers.append(callback)
            return call_later(delay_ms, callback)

        host.call_later = watched
        made.append(LockObject(host))
        return made[-1]

    objects = LocalObjects(logic, clock=clock)
    held = await _ask(objects, _acquire_request("a"))
    waiting = asyncio.ensure_future(made[0].call(_acquire_request("b", wait_ms=100)))
    await asyncio.sleep(0)
    time_is_up = timers[0]
    time_is_up()
    # Called directly, the release runs before the waiter's coroutine does.
    await made[0].call(encode_request("release", {"key": "k", "fencingToken": held["fencingToken"]}))
    assert json.loads(await waiting)["ok"] is None
    assert not await _ask(objects, encode_request("is_locked", {"key": "k"}))


async def test_a_delay_holds_up_who_waits(
    objects: LocalObjects, manager: DurableObjectLockManager, clock: CountingClock
) -> None:
    """LK-21: A waiter for an expired key is served when the delay has passed, by one timer."""
    lost = await manager.acquire("k", ttl=1, lock_delay=2)
    assert lost is not None
    waiting = asyncio.ensure_future(manager.acquire("k", wait=20))
    await clock.advance(2.9)
    assert not waiting.done()
    assert await manager.is_locked("k")
    await clock.advance(0.2)
    lock = await waiting
    assert lock is not None
    assert lock.fencing_token > lost.fencing_token


async def test_a_late_release_serves_who_waits(manager: DurableObjectLockManager, clock: CountingClock) -> None:
    """LK-21: A late holder has lost its lease, but its release lets the waiters go on."""
    lost = await manager.acquire("k", ttl=1, lock_delay=3_600)
    assert lost is not None
    waiting = asyncio.ensure_future(manager.acquire("k", wait=20))
    await clock.advance(2)
    assert not waiting.done()
    assert not await lost.release()
    assert await waiting is not None


async def test_a_manager_has_a_delay_for_all_its_locks(objects: LocalObjects, clock: CountingClock) -> None:
    """LK-21: The option `lock_delay` applies to every lock, unless a call gives its own delay."""
    options = LockOptions(now_s=lambda: clock.now_ms() / 1000, sleep=clock.sleep, default_ttl=1, lock_delay=2)
    manager = DurableObjectLockManager(objects, options=options)
    assert await manager.acquire("k") is not None
    assert await manager.acquire("l", lock_delay=0) is not None
    await clock.advance(1.1)
    assert await manager.is_locked("k")
    assert not await manager.is_locked("l")
    await clock.advance(2)
    assert not await manager.is_locked("k")


async def test_shards_share_objects(objects: LocalObjects, clock: CountingClock) -> None:
    """LK-26: with `shards` many keys live in few objects; each holds, waits and counts on its own."""
    options = LockOptions(now_s=lambda: clock.now_ms() / 1000, sleep=clock.sleep, shards=4)
    manager = DurableObjectLockManager(objects, options=options)
    names: set[str] = set()
    keys = [f"key {number}" for number in range(60)]
    names = {options.object_name(key) for key in keys}
    assert names == {f"__locks-{number}-of-4" for number in range(4)}
    locks = [await manager.acquire(key) for key in keys]
    assert all(locks)
    assert await manager.acquire(keys[0]) is None
    waiting = [asyncio.ensure_future(manager.acquire(key, wait=9)) for key in keys]
    await clock.advance(1)
    assert not any(task.done() for task in waiting)
    for lock in locks:
        assert lock is not None
        assert await lock.release()
    for lock, after in zip(locks, await asyncio.gather(*waiting), strict=True):
        assert lock is not None
        assert after is not None
        assert after.fencing_token > lock.fencing_token
        assert await after.release()


async def test_another_number_of_shards_is_another_set_of_locks(objects: LocalObjects, clock: CountingClock) -> None:
    """LK-26: Keys in 4 shards, in 5 shards and in objects of their own are independent. No key can name a shard."""
    managers = [
        DurableObjectLockManager(objects, options=LockOptions(now_s=lambda: clock.now_ms() / 1000, shards=shards))
        for shards in (None, 4, 5)
    ]
    for manager in managers:
        assert await manager.acquire("k") is not None
    for manager in managers:
        assert await manager.acquire("k") is None
    with pytest.raises(InvalidArgumentError, match="__"):
        await managers[0].acquire("__locks-0-of-4")


async def test_idle_keys_of_shards_are_cleaned_up(
    objects: LocalObjects, manager: DurableObjectLockManager, clock: CountingClock
) -> None:
    """LK-24, LK-26: Clean_up forgets, in every shard, exactly the keys that were free long enough. Tokens still rise."""
    options = LockOptions(now_s=lambda: clock.now_ms() / 1000, sleep=clock.sleep, shards=3)
    sharded = DurableObjectLockManager(objects, options=options)
    tokens: dict[str, int] = {}
    for number in range(40):
        async with sharded.lock(f"k{number}") as lock:
            tokens[lock.key] = lock.fencing_token
    held = await sharded.acquire("held", ttl_ms=86_400_000)
    assert held is not None
    clock.set(clock.now_ms() + 86_400_000 - 1)
    assert await sharded.clean_up() == 0
    clock.set(clock.now_ms() + 60_000)
    assert await sharded.clean_up(idle=90_000) == 0
    assert await sharded.clean_up() == 40
    assert await sharded.clean_up() == 0
    clock.set(clock.now_ms() - 10 * 86_400_000)
    for key, token in tokens.items():
        async with sharded.lock(key) as lock:
            assert lock.fencing_token > token
    with pytest.raises(InvalidArgumentError, match="shards"):
        await manager.clean_up()


@pytest.mark.parametrize("shards", [0, -1, 10_001, True, 1.5])
def test_bad_shards_are_refused(shards: int) -> None:
    """LK-17: a number of shards outside 1 to 10,000 is refused by name."""
    with pytest.raises((InvalidArgumentError, TypeError), match="shards"):
        LockOptions(shards=shards)


@pytest.mark.parametrize("name", ["ttlMs", "delayMs"])
@pytest.mark.parametrize("value", [None, "x", 1.5, -1, 2**53, True, [], {}])
async def test_a_span_that_no_manager_sends_is_refused(
    objects: LocalObjects, manager: DurableObjectLockManager, name: str, value: Any
) -> None:
    """LK-20: It is named and not stored. Stored, it would have closed the key for ever, also after a restart."""
    spans = {"ttlMs": 1_000, "delayMs": 0, name: value}
    request = encode_request("acquire", {"key": "k", "owner": "o", "requestId": "r", "waitMs": 0, **spans})
    assert json.loads(await objects.call("k", request))["error"]["code"] == "invalid_argument"
    objects.hibernate()
    lock = await manager.acquire("k")
    assert lock is not None
    refresh = encode_request("refresh", {"key": "k", "fencingToken": lock.fencing_token, "ttlMs": value})
    assert json.loads(await objects.call("k", refresh))["error"]["code"] == "invalid_argument"
    assert await lock.release()
