"""Acquires and gives back one lock, or several locks together."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from weakref import WeakSet

from agents_store_cloudflare.contract.arguments import check_id
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_values import JsonValue
from agents_store_cloudflare.locks.calls import Answer, LockCalls
from agents_store_cloudflare.locks.held_locks import HeldLocks, released
from agents_store_cloudflare.locks.lease import Grant
from agents_store_cloudflare.locks.lock import DurableObjectLock, Lease, reliable_s

__all__ = ["Acquirer", "Blocked", "Wanted", "checked_keys"]

MOST_KEYS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A checked request for locks. `hold_ms` is the time for which auto-refresh keeps them; None for no auto-refresh."""

    owner: str
    ttl_ms: int
    wait_ms: int
    delay_ms: int
    hold_ms: int | None

    def request(self, request_id: str) -> Mapping[str, JsonValue]:
        """Return the arguments of an acquire, without the time to wait."""
        return {"requestId": request_id, "owner": self.owner, "ttlMs": self.ttl_ms, "delayMs": self.delay_ms}


@dataclass(frozen=True, slots=True)
class Blocked:
    """The key whose lock was not acquired in time."""

    key: str


class Acquirer:
    """Acquires locks through a `LockCalls`. When an acquisition fails or is cancelled, it gives back every lock that it got."""

    def __init__(self, calls: LockCalls) -> None:
        self._calls = calls
        self._acquired: WeakSet[DurableObjectLock] = WeakSet()

    async def one(self, key: str, wanted: Wanted) -> DurableObjectLock | None:
        """Return the lock, or None if the key is not free in time. A cancelled call leaves the queue."""
        request_id = uuid.uuid4().hex
        answer = await self._ask(key, request_id, wanted.request(request_id), wanted.wait_ms)
        return self.granted(key, answer, request_id, wanted)

    def granted(self, key: str, answer: Answer, request_id: str, wanted: Wanted) -> DurableObjectLock | None:
        """Return the lock of an answer to an acquire, or None if the key is not free."""
        if answer.value is None:
            return None
        lock = DurableObjectLock(self._calls, key, self._lease(answer, request_id, wanted))
        self._acquired.add(lock)
        if wanted.hold_ms is not None:
            lock.keep_refreshed(wanted.hold_ms)
        return lock

    def own_holder(self, key: str) -> str | None:
        """Return the owner of a lock on this key that was acquired here and is still held, or None."""
        return next((lock.owner for lock in self._acquired if lock.key == key and lock.remaining() > 0), None)

    async def all(self, keys: Sequence[str], wanted: Wanted) -> HeldLocks | Blocked:
        """Acquire all the locks or none, in the given order. If all callers use the same order, no two wait for each other.

        While the call waits for one lock, it refreshes the locks that it holds. If it loses one of them, it begins again while
        there is time.
        """
        deadline_s = self._calls.now_s() + wanted.wait_ms / 1000
        while True:
            held: list[DurableObjectLock] = []
            blocked = Blocked(keys[0])
            try:
                for key in keys:
                    wait_ms = max(0, round((deadline_s - self._calls.now_s()) * 1000))
                    lock = await self.one(key, replace(wanted, wait_ms=wait_ms, hold_ms=_hold_meanwhile_ms(wanted)))
                    if lock is None:
                        blocked = Blocked(key)
                        break
                    held.append(lock)
            except BaseException:
                await self.give_back(held)
                raise
            lost = [lock for lock in held if lock.lost]
            if len(held) == len(keys) and not lost:
                return self._together(held, wanted)
            await self.give_back(held)
            if not lost or self._calls.now_s() >= deadline_s:
                return Blocked(lost[0].key) if lost else blocked

    async def give_back(self, locks: Sequence[DurableObjectLock]) -> None:
        """Release all the locks at once. A failure is logged, and that lease ends by itself.

        A cancellation in the meantime takes effect when all are released.
        """
        for lock, outcome in zip(locks, await released(locks, self._calls.finishing), strict=True):
            if isinstance(outcome, BaseException):
                self._calls.logger.warning(
                    "lock %r could not be released and lasts until its ttl ends: %s", lock.key, outcome
                )
                lock.let_expire()  # the caller has gone away
            elif not outcome:
                self._calls.logger.warning("lock %r was lost before it was given back", lock.key)

    def _together(self, held: Sequence[DurableObjectLock], wanted: Wanted) -> HeldLocks:
        if wanted.hold_ms is None:
            for lock in held:
                lock.stop_background()
        return HeldLocks(held, self._calls.finishing)

    async def _ask(self, key: str, request_id: str, request: Mapping[str, JsonValue], wait_ms: int) -> Answer:
        """Send an acquire, and return its answer. If no reply comes, the same request is sent again while there is time to wait."""
        deadline_s = self._calls.now_s() + wait_ms / 1000
        try:
            return await self._calls.call_until(key, "acquire", self._with_wait(request, deadline_s), deadline_s)
        except asyncio.CancelledError:
            finishing = self._calls.finishing
            await finishing.wait_for([finishing.start(self._abandon(key, request_id))])
            raise

    def _with_wait(self, request: Mapping[str, JsonValue], deadline_s: float) -> Callable[[], Mapping[str, JsonValue]]:
        return lambda: {**request, "waitMs": max(0, round((deadline_s - self._calls.now_s()) * 1000))}

    def _lease(self, answer: Answer, request_id: str, wanted: Wanted) -> Lease:
        granted: Mapping[str, Any] = answer.value
        # The time counts from the sending, because the grant came later. The lease ends at most a ttl from now, whatever the
        # object's clock says.
        longest_s = self._calls.now_s() + reliable_s(wanted.ttl_ms)
        deadline_s = min(answer.sent_s + reliable_s(granted["validForMs"]), longest_s)
        grant = Grant(fencing_token=granted["fencingToken"], expires_at=granted["expiresAt"])
        return Lease(
            owner=wanted.owner, request_id=request_id, ttl_ms=wanted.ttl_ms, grant=grant, deadline_s=deadline_s
        )

    async def _abandon(self, key: str, request_id: str) -> None:
        try:
            await self._calls.call(key, "abandon", {"requestId": request_id})
        except Exception as error:  # noqa: BLE001 - the caller is cancelled, so every failure goes to the log
            self._calls.logger.warning("lock %r: a cancelled acquire could not be taken back: %s", key, error)


def _hold_meanwhile_ms(wanted: Wanted) -> int | None:
    if wanted.hold_ms is None and wanted.wait_ms > 0:
        return wanted.wait_ms + wanted.ttl_ms
    return wanted.hold_ms


def checked_keys(keys: Iterable[str]) -> list[str]:
    """Return the keys, each once, in the order in which all callers acquire several keys.

    Raises:
        TypeError: the keys are a bare string, or a key is not text.
        InvalidArgumentError: there is no key or over 100 keys, or a key breaks the rules for keys.
    """
    if isinstance(keys, str):
        raise TypeError("keys must be a collection of keys; for one key use lock or acquire")
    ordered = sorted({check_id(key, "key") for key in keys})
    if not 1 <= len(ordered) <= MOST_KEYS:
        raise InvalidArgumentError(f"{len(ordered)} keys; 1 to {MOST_KEYS} can be acquired together")
    return ordered
