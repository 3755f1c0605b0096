"""`DurableObjectLockManager`: locks for users, over the Durable Objects that keep them."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Self

from agents_store_cloudflare.arguments import check_id, span_ms
from agents_store_cloudflare.bindings import as_namespace
from agents_store_cloudflare.errors import LockError, LockNotAcquiredError
from agents_store_cloudflare.json_values import JsonValue
from agents_store_cloudflare.locks.calls import Answer, LockCalls
from agents_store_cloudflare.locks.lease_table import Grant
from agents_store_cloudflare.locks.lock import DurableObjectLock, Lease, reliable_s
from agents_store_cloudflare.locks.options import MAX_TTL_S, LockOptions, checked_ttl_ms

__all__ = ["DurableObjectLockManager"]


class DurableObjectLockManager:
    """`LockManager` over a Durable Object namespace whose class is `LockServer`, one object a key. Make one per request.

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
        default_ttl, default_ttl_ms, max_hold, logger: see `LockOptions`.
    """

    def __init__(
        self,
        namespace: object,
        *,
        default_ttl: float | timedelta | None = None,
        default_ttl_ms: float | None = None,
        max_hold: float | timedelta | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        options = LockOptions(default_ttl=default_ttl, default_ttl_ms=default_ttl_ms, max_hold=max_hold, logger=logger)
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
        self._farewells: set[asyncio.Task[None]] = set()

    async def acquire(
        self,
        key: str,
        *,
        ttl: float | timedelta | None = None,
        ttl_ms: float | None = None,
        owner: str | None = None,
        wait: float | timedelta | None = None,
        auto_refresh: bool = False,
    ) -> DurableObjectLock | None:
        """`LockManager.acquire`. Cancelled while it waits, it leaves the queue."""
        check_id(key, "key")
        holder = uuid.uuid4().hex if owner is None else check_id(owner, "owner")
        given_ms = checked_ttl_ms(ttl, ttl_ms, "ttl")
        lease_ms = self._options.ttl_ms() if given_ms is None else given_ms
        wait_ms = span_ms(wait, None, "wait", most_seconds=MAX_TTL_S) or 0
        request: Mapping[str, JsonValue] = {"requestId": uuid.uuid4().hex, "owner": holder, "ttlMs": lease_ms}
        answer = await self._ask(key, request, wait_ms)
        if answer.value is None:
            return None
        lock = DurableObjectLock(self._calls, key, self._lease(answer, holder, lease_ms))
        if auto_refresh:
            lock.keep_refreshed(self._options.hold_ms(lease_ms))
        return lock

    async def is_locked(self, key: str) -> bool:
        """`LockManager.is_locked`."""
        answer = await self._calls.call(check_id(key, "key"), "is_locked", {})
        return bool(answer.value)

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
    ) -> AsyncGenerator[DurableObjectLock, None]:
        """`LockManager.lock`. What goes wrong at the end is logged, not raised: the body is done, and the lease ends by itself."""
        lock = await self.acquire(key, ttl=ttl, ttl_ms=ttl_ms, owner=owner, wait=wait, auto_refresh=auto_refresh)
        if lock is None:
            raise LockNotAcquiredError(key)
        try:
            yield lock
        finally:
            await self._end(lock)

    async def _ask(self, key: str, request: Mapping[str, JsonValue], wait_ms: int) -> Answer:
        """The answer to an acquire; when it is lost, the same request is sent again for as long as there is time to wait."""
        deadline_s = self._calls.now_s() + wait_ms / 1000
        try:
            return await self._calls.call_until(key, "acquire", self._with_wait(request, deadline_s), deadline_s)
        except asyncio.CancelledError:
            farewell = asyncio.get_running_loop().create_task(self._abandon(key, request["requestId"]))
            self._farewells.add(farewell)
            farewell.add_done_callback(self._farewells.discard)
            raise

    def _with_wait(self, request: Mapping[str, JsonValue], deadline_s: float) -> Callable[[], Mapping[str, JsonValue]]:
        return lambda: {**request, "waitMs": max(0, round((deadline_s - self._calls.now_s()) * 1000))}

    def _lease(self, answer: Answer, owner: str, ttl_ms: int) -> Lease:
        granted: Mapping[str, Any] = answer.value
        # From the sending, before which nothing was granted; and never beyond a ttl from now, whatever the object's clock did.
        deadline_s = min(answer.sent_s + reliable_s(granted["validForMs"]), self._calls.now_s() + reliable_s(ttl_ms))
        grant = Grant(fencing_token=granted["fencingToken"], expires_at=granted["expiresAt"])
        return Lease(owner=owner, ttl_ms=ttl_ms, grant=grant, deadline_s=deadline_s)

    async def _abandon(self, key: str, request_id: JsonValue) -> None:
        try:
            await self._calls.call(key, "abandon", {"requestId": request_id})
        except LockError as error:
            self._calls.logger.warning("lock %r: a cancelled acquire could not be taken back: %s", key, error)

    async def _end(self, lock: DurableObjectLock) -> None:
        try:
            if await lock.release():
                return
            self._calls.logger.warning("lock %r was lost before the end of its block", lock.key)
        except LockError as error:
            self._calls.logger.warning(
                "lock %r could not be released and lasts until its ttl ends: %s", lock.key, error
            )
