"""`DurableObjectLockManager`: locks for users, over the Durable Objects that keep them."""

from __future__ import annotations

import logging
import uuid
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Self

from agents_store_cloudflare.cloudflare.namespace import as_namespace
from agents_store_cloudflare.contract.arguments import check_id, span_ms
from agents_store_cloudflare.contract.errors import InvalidArgumentError, LockNotAcquiredError
from agents_store_cloudflare.locks.acquiring import Acquirer, Blocked, Wanted, checked_keys
from agents_store_cloudflare.locks.calls import LockCalls
from agents_store_cloudflare.locks.held_locks import HeldLocks
from agents_store_cloudflare.locks.lock import DurableObjectLock
from agents_store_cloudflare.locks.loss import CancelledWhenLost
from agents_store_cloudflare.locks.options import MAX_TTL_S, LockOptions, checked_ttl_ms

__all__ = ["DurableObjectLockManager"]


class DurableObjectLockManager:
    """`LockManager` over a Durable Object namespace whose class is `LockServer`: one object a key, or `shards` for all keys.

    Make one per request.

    A lock here is a lease: it ends by itself, or else a Worker that dies would hold it for ever. So no holder can be sure that it
    still holds. This is how that goes wrong, and why nothing breaks::

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

    A cannot notice in time: the moment after it has asked is the moment in which it may stall. What protects the data is the token,
    checked by the store in the same transaction as the write. So give the lock to every write::

        async with lock_manager.lock(session_id, wait=5) as lock:
            state = await state_store.load_state(session_id, required=True)
            ...
            await state_store.save(state, fencing_token=lock)

    What happens outside the stores (a mail, a payment) has no token to be checked: ask `lock.remaining()` before it, and make it safe
    to do twice. `auto_refresh=True` keeps a lease for work of unknown length; it stops after `max_hold`.

    Args:
        namespace: the binding, raw or as the SDK wraps it, or `LocalObjects(LockObject)` in tests.
        default_ttl, default_ttl_ms, max_hold, lock_delay, shards, logger: see `LockOptions`.
    """

    def __init__(
        self,
        namespace: object,
        *,
        default_ttl: float | timedelta | None = None,
        default_ttl_ms: float | None = None,
        max_hold: float | timedelta | None = None,
        lock_delay: float | timedelta | None = None,
        shards: int | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        options = LockOptions(
            default_ttl=default_ttl,
            default_ttl_ms=default_ttl_ms,
            max_hold=max_hold,
            lock_delay=lock_delay,
            shards=shards,
            logger=logger,
        )
        self._set_up(namespace, options)

    @classmethod
    def from_options(cls, namespace: object, options: LockOptions) -> Self:
        """A manager with options made elsewhere."""
        manager = cls(namespace)
        manager._set_up(namespace, options)
        return manager

    def _set_up(self, namespace: object, options: LockOptions) -> None:
        self._options = options
        self._calls = LockCalls(as_namespace(namespace), options)
        self._acquirer = Acquirer(self._calls)

    async def acquire(
        self,
        key: str,
        *,
        ttl: float | timedelta | None = None,
        ttl_ms: float | None = None,
        owner: str | None = None,
        wait: float | timedelta | None = None,
        auto_refresh: bool = False,
        lock_delay: float | timedelta | None = None,
    ) -> DurableObjectLock | None:
        """`LockManager.acquire`. Cancelled while it waits, it leaves the queue."""
        check_id(key, "key")
        return await self._acquirer.one(
            key, self._wanted(ttl, ttl_ms, owner, wait, lock_delay, auto_refresh=auto_refresh)
        )

    async def acquire_all(
        self,
        keys: Iterable[str],
        *,
        ttl: float | timedelta | None = None,
        ttl_ms: float | None = None,
        owner: str | None = None,
        wait: float | timedelta | None = None,
        auto_refresh: bool = False,
        lock_delay: float | timedelta | None = None,
    ) -> HeldLocks | None:
        """`LockManager.acquire_all`. Cancelled on the way, it gives back what it has."""
        held = await self._acquirer.all(
            checked_keys(keys), self._wanted(ttl, ttl_ms, owner, wait, lock_delay, auto_refresh=auto_refresh)
        )
        return None if isinstance(held, Blocked) else held

    async def is_locked(self, key: str) -> bool:
        """`LockManager.is_locked`."""
        answer = await self._calls.call(check_id(key, "key"), "is_locked", {})
        return bool(answer.value)

    async def delete(self, key: str) -> bool:
        """`LockManager.delete`."""
        answer = await self._calls.call(check_id(key, "key"), "delete", {})
        return bool(answer.value)

    async def clean_up(self, *, idle: float | timedelta = timedelta(days=1)) -> int:
        """Forget the keys of all shards that have been free for `idle`; how many, or fewer where a reply was lost. Their tokens rise on.

        For an operator's cron: it reads every key, 500 a call, and writes one row for each that goes.

        Raises:
            InvalidArgumentError: this manager has no shards; objects of one key each cannot be listed, `delete` forgets one.
            LockError: a shard could not be reached; those before it are done.
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

    @asynccontextmanager
    async def lock(
        self,
        key: str,
        *,
        ttl: float | timedelta | None = None,
        ttl_ms: float | None = None,
        owner: str | None = None,
        wait: float | timedelta | None = None,
        auto_refresh: bool = False,
        lock_delay: float | timedelta | None = None,
        cancel_when_lost: bool = False,
    ) -> AsyncGenerator[DurableObjectLock, None]:
        """`LockManager.lock`. What goes wrong at the end is logged, not raised: the body is done, and the lease ends by itself."""
        check_id(key, "key")
        lock = await self._acquirer.one(
            key, self._wanted(ttl, ttl_ms, owner, wait, lock_delay, auto_refresh=auto_refresh)
        )
        if lock is None:
            raise LockNotAcquiredError(key)
        async with self._block([lock], cancel_when_lost=cancel_when_lost):
            yield lock

    @asynccontextmanager
    async def locks(
        self,
        keys: Iterable[str],
        *,
        ttl: float | timedelta | None = None,
        ttl_ms: float | None = None,
        owner: str | None = None,
        wait: float | timedelta | None = None,
        auto_refresh: bool = False,
        lock_delay: float | timedelta | None = None,
        cancel_when_lost: bool = False,
    ) -> AsyncGenerator[HeldLocks, None]:
        """`LockManager.locks`. What goes wrong at the end is logged, not raised."""
        held = await self._acquirer.all(
            checked_keys(keys), self._wanted(ttl, ttl_ms, owner, wait, lock_delay, auto_refresh=auto_refresh)
        )
        if isinstance(held, Blocked):
            raise LockNotAcquiredError(held.key)
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

    def _wanted(
        self,
        ttl: float | timedelta | None,
        ttl_ms: float | None,
        owner: str | None,
        wait: float | timedelta | None,
        lock_delay: float | timedelta | None,
        *,
        auto_refresh: bool,
    ) -> Wanted:
        given_ms = checked_ttl_ms(ttl, ttl_ms, "ttl")
        lease_ms = self._options.ttl_ms() if given_ms is None else given_ms
        return Wanted(
            owner=uuid.uuid4().hex if owner is None else check_id(owner, "owner"),
            ttl_ms=lease_ms,
            wait_ms=span_ms(wait, None, "wait", most_seconds=MAX_TTL_S) or 0,
            delay_ms=self._options.delay_ms(lock_delay),
            hold_ms=self._options.hold_ms(lease_ms) if auto_refresh else None,
        )
