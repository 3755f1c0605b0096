"""`DurableObjectLockManager`: the lock manager that users hold."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Unpack

from agents_store_cloudflare.cloudflare.namespace import as_namespace
from agents_store_cloudflare.contract.arguments import check_flag, check_id, options_of, span_ms
from agents_store_cloudflare.contract.blocks import Block
from agents_store_cloudflare.contract.errors import InvalidArgumentError, LockNotAcquiredError
from agents_store_cloudflare.contract.locks import LockAcquireOptions, LockBlockOptions, LockHolder, LockManager
from agents_store_cloudflare.locks.acquiring import Acquirer, Blocked, Wanted, checked_keys
from agents_store_cloudflare.locks.calls import LockCalls
from agents_store_cloudflare.locks.held_locks import HeldLocks
from agents_store_cloudflare.locks.lock import DurableObjectLock
from agents_store_cloudflare.locks.loss import CancelledWhenLost
from agents_store_cloudflare.locks.options import MAX_TTL_S, LockOptions, LockSettings, checked_ttl_ms

if TYPE_CHECKING:
    from agents_store_cloudflare.locks.companions import Acquiring
else:
    Acquiring = Any  # for `typing.get_type_hints`; the module is loaded with the first use

__all__ = ["DurableObjectLockManager"]


class LockBlock(Block[DurableObjectLock]):
    """The block of one lock."""

    use = "async with lock_manager.lock(key) as lock:"


class LocksBlock(Block[HeldLocks]):
    """The block of several locks."""

    use = "async with lock_manager.locks(keys) as locks:"


class DurableObjectLockManager(LockManager):
    """Locks in the Durable Objects of the class `LockServer`: one object for each key, or `shards` objects for all keys.

    Make one per request.

    A lock is a lease: it ends by itself, because otherwise a Worker that dies would hold it for ever. So no holder can be sure that
    it still holds the lock. In this example holder A has lost its lock and does not know it. Its write is refused::

        holder A                         the key's object            holder B
        acquire, ttl 30 s          ->    token 7, until 0:30
        stalls at 0:05 (its isolate
        is paused, the network hangs)
                                         0:30: the lease is over
                                         token 8, until 1:01     <-  acquire at 0:31
                                                                     saves with token 8: stored
        wakes at 0:40, saves with
        token 7: StaleFencingTokenError
        refresh: False; release: False

    A cannot notice the loss in time, because it may stall right after it has looked at its lock. The token protects the data: the
    store checks it in the same transaction as the write. So give the lock to every write::

        async with lock_manager.lock(session_id, wait=5) as lock:
            state = await state_store.load_state(session_id, required=True)
            ...
            await state_store.save(state, fencing_token=lock)

    Effects outside the stores (a mail, a payment) check no token: ask `lock.remaining()` before them, and make them safe to do twice.
    `auto_refresh=True` keeps a lease for work of unknown length; it stops after `max_hold`.

    A cancellation leaves no lock behind. A cancelled acquire leaves the queue, and gives back a lock that it has just got. A
    cancelled release, or the end of a cancelled block, gives back every lock before it raises the cancellation. This takes one
    call, at most 5 seconds.

    Args:
        namespace: the binding, raw or as the SDK wraps it, or `LocalObjects(LockObject)` in tests.
        options: all options at once.
        settings: single options as keyword arguments; see `LockOptions`.
    """

    def __init__(
        self, namespace: object, *, options: LockOptions | None = None, **settings: Unpack[LockSettings]
    ) -> None:
        self._options = options_of(options, settings, LockOptions)
        self._calls = LockCalls(as_namespace(namespace), self._options)
        self._acquirer = Acquirer(self._calls)

    async def acquire(self, key: str, **options: Unpack[LockAcquireOptions]) -> DurableObjectLock | None:
        return await self._acquirer.one(check_id(key, "key"), self._wanted(options))

    def acquiring(self, key: str, **options: Unpack[LockAcquireOptions]) -> Acquiring:
        """Return an acquire that goes to the key's object together with other calls. `store.turn` uses it."""
        from agents_store_cloudflare.locks import companions  # noqa: PLC0415 - homes alone need it

        return companions.Acquiring(self._acquirer, check_id(key, "key"), self._wanted(options), self._calls.now_s)

    async def acquire_all(self, keys: Iterable[str], **options: Unpack[LockAcquireOptions]) -> HeldLocks | None:
        held = await self._acquirer.all(checked_keys(keys), self._wanted(options))
        return None if isinstance(held, Blocked) else held

    async def is_locked(self, key: str) -> bool:
        answer = await self._calls.call(check_id(key, "key"), "is_locked", {})
        return bool(answer.value)

    async def get_holder(self, key: str) -> LockHolder | None:
        answer = await self._calls.call(check_id(key, "key"), "get_holder", {})
        return None if answer.value is None else LockHolder.from_dict({"key": key, **answer.value})

    async def delete(self, key: str) -> bool:
        answer = await self._calls.call(check_id(key, "key"), "delete", {})
        return bool(answer.value)

    async def clean_up(self, *, idle: float | timedelta = timedelta(days=1)) -> int:
        """Forget the keys of all shards that have been free for `idle`, and return their number.

        Later grants of these keys still have higher tokens.

        Call it from a cron job: it reads every key, 500 a call, and writes one row for each forgotten key. The number is too small if a
        reply was lost.

        Raises:
            InvalidArgumentError: this manager has no shards. Objects of one key each cannot be listed; `delete` forgets one.
            LockError: a shard could not be reached. The shards before it are done.

        Cost: 2 object calls (3 rows read).
        """
        if self._options.shards is None:
            raise InvalidArgumentError("clean_up is for LockOptions(shards=…); without shards delete forgets one key")
        idle_ms = span_ms(idle, None, "idle")
        removed = 0
        for name in map(self._options.shard_name, range(self._options.shards)):
            after: str | None = ""
            while after is not None:
                answer = await self._calls.call(name, "clean_up", {"idleMs": idle_ms, "after": after}, name=name)
                removed += answer.value["removed"]
                after = answer.value["nextAfter"]
        return removed

    def lock(self, key: str, **options: Unpack[LockBlockOptions]) -> LockBlock:
        return LockBlock(self._held(key, options))

    @asynccontextmanager
    async def _held(self, key: str, options: LockBlockOptions) -> AsyncGenerator[DurableObjectLock, None]:
        cancel_when_lost = check_flag(options.pop("cancel_when_lost", False), "cancel_when_lost")
        lock = await self._acquirer.one(check_id(key, "key"), self._wanted(options))
        if lock is None:
            raise self._refused(key)
        async with self._block([lock], cancel_when_lost=cancel_when_lost):
            yield lock

    def locks(self, keys: Iterable[str], **options: Unpack[LockBlockOptions]) -> LocksBlock:
        return LocksBlock(self._all_held(checked_keys(keys), options))

    @asynccontextmanager
    async def _all_held(self, keys: Sequence[str], options: LockBlockOptions) -> AsyncGenerator[HeldLocks, None]:
        cancel_when_lost = check_flag(options.pop("cancel_when_lost", False), "cancel_when_lost")
        held = await self._acquirer.all(keys, self._wanted(options))
        if isinstance(held, Blocked):
            raise self._refused(held.key)
        async with self._block(list(held.values()), cancel_when_lost=cancel_when_lost):
            yield held

    @asynccontextmanager
    async def _block(self, locks: Sequence[DurableObjectLock], *, cancel_when_lost: bool) -> AsyncGenerator[None, None]:
        try:
            if cancel_when_lost:
                async with CancelledWhenLost(locks):
                    yield
            else:
                yield
        finally:
            await self._acquirer.give_back(locks)

    def _refused(self, key: str) -> LockNotAcquiredError:
        return LockNotAcquiredError(key, owner=self._acquirer.own_holder(key))

    def _wanted(self, options: LockAcquireOptions) -> Wanted:
        if unknown := sorted(options.keys() - LockAcquireOptions.__annotations__.keys()):
            raise TypeError(
                f"a lock has no option {unknown[0]!r}; it has {', '.join(LockAcquireOptions.__annotations__)}"
            )
        given_ms = checked_ttl_ms(options.get("ttl"), options.get("ttl_ms"), "ttl")
        lease_ms = self._options.ttl_ms() if given_ms is None else given_ms
        owner = options.get("owner")
        refreshes = check_flag(options.get("auto_refresh", False), "auto_refresh")
        return Wanted(
            owner=uuid.uuid4().hex if owner is None else check_id(owner, "owner"),
            ttl_ms=lease_ms,
            wait_ms=span_ms(options.get("wait"), None, "wait", most_seconds=MAX_TTL_S) or 0,
            delay_ms=self._options.delay_ms(options.get("lock_delay")),
            hold_ms=self._options.hold_ms(lease_ms) if refreshes else None,
        )
