"""The live lock: what its holder asks, extends and gives back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from agents_store_cloudflare.contract.errors import InvalidArgumentError, LockError
from agents_store_cloudflare.locks.calls import LockCalls
from agents_store_cloudflare.locks.lease import Grant
from agents_store_cloudflare.locks.loss import Loss, LostCallback
from agents_store_cloudflare.locks.options import checked_ttl_ms

__all__ = ["DurableObjectLock", "Lease"]

MARGIN_S: Final = 0.005
MARGIN_PER_TTL: Final = 0.02
SHORTEST_PAUSE_S: Final = 0.02
SHORTEST_LOOK_S: Final = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A grant as its holder knows it: `deadline_s`, by the holder's clock, is not after the lease's end."""

    owner: str
    ttl_ms: int
    grant: Grant
    deadline_s: float


class DurableObjectLock:
    """A `Lock`: one lease on one key. Made by a lock manager; give it to every write it protects, as their `fencing_token`."""

    def __init__(self, calls: LockCalls, key: str, lease: Lease) -> None:
        self._calls = calls
        self._key = key
        self._lease = lease
        self._ttl_ms = lease.ttl_ms
        self._expires_at = lease.grant.expires_at
        self._deadline_s = lease.deadline_s
        self._is_released = False
        self._loss = Loss(calls.logger)
        self._refresher: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None

    @property
    def key(self) -> str:
        """`Lock.key`."""
        return self._key

    @property
    def owner(self) -> str:
        """`Lock.owner`."""
        return self._lease.owner

    @property
    def fencing_token(self) -> int:
        """`Lock.fencing_token`."""
        return self._lease.grant.fencing_token

    @property
    def expires_at(self) -> int:
        """`Lock.expires_at`."""
        return self._expires_at

    @property
    def lost(self) -> bool:
        """`Lock.lost`."""
        return not self._is_released and (self._loss.is_told() or self.remaining() == 0)

    def remaining(self) -> float:
        """`Lock.remaining`: 0 once it is released or lost. In a Worker clocks stand still between two awaits: ask after one."""
        if self._is_released or self._loss.is_told():
            return 0.0
        return max(0.0, self._deadline_s - self._calls.now_s())

    async def refresh(self, ttl: float | timedelta | None = None, *, ttl_ms: float | None = None) -> bool:
        """`Lock.refresh`. A ttl given here is the lock's from now on, also for auto-refresh.

        Raises:
            LockError: no reply; `remaining()` counts down as if nothing had happened.
        """
        given_ms = checked_ttl_ms(ttl, ttl_ms, "ttl")
        if self._is_released or self._loss.is_told():
            return False
        wanted_ms = self._ttl_ms if given_ms is None else given_ms
        answer = await self._calls.call(self._key, "refresh", {"fencingToken": self.fencing_token, "ttlMs": wanted_ms})
        if answer.value is None:
            self._stop_watching()
            self._loss.tell(self)
            return False
        if self._loss.is_told():
            return False
        self._ttl_ms, self._expires_at = wanted_ms, answer.value
        self._deadline_s = answer.sent_s + reliable_s(wanted_ms)
        return True

    async def release(self) -> bool:
        """`Lock.release`. The second time: False.

        Raises:
            LockError: no reply; the lease may last until its ttl ends. It may be released again.
        """
        if self._is_released:
            return False
        self._is_released = True
        is_watched = self._watcher is not None
        self.stop_background()
        try:
            answer = await self._calls.call(self._key, "release", {"fencingToken": self.fencing_token})
        except BaseException:
            self._is_released = False
            if is_watched:
                self._watch()
            raise
        return bool(answer.value)

    def on(self, event: Literal["lost"], callback: LostCallback) -> Callable[[], None]:
        """`Lock.on`. An exception of a callback is logged and stops nothing."""
        if event != "lost":
            raise InvalidArgumentError(f"there is no event {event!r}; there is 'lost'")
        if not callable(callback):
            raise TypeError(f"callback must be callable, not {type(callback).__name__}")
        unsubscribe = self._loss.subscribe(callback)
        self._watch()
        return unsubscribe

    def keep_refreshed(self, hold_ms: int) -> None:
        """Refresh at a third of the ttl, in the background, until it is released or lost or `hold_ms` have passed."""
        until_s = self._calls.now_s() + hold_ms / 1000
        self._refresher = asyncio.get_running_loop().create_task(self._keep_refreshing(until_s))
        self._watch()

    def stop_background(self) -> None:
        """Neither refresh nor watch any more."""
        if self._refresher is not None:
            self._refresher.cancel()
            self._refresher = None
        self._stop_watching()

    def _watch(self) -> None:
        # Beside the refreshing, which may hang in a call when the end comes.
        if self._watcher is None and not self._is_released:
            self._watcher = asyncio.get_running_loop().create_task(self._tell_when_lost())

    async def _tell_when_lost(self) -> None:
        while (remaining_s := self.remaining()) > 0:
            await self._calls.sleep(max(SHORTEST_LOOK_S, remaining_s))
        if self.lost:
            self._loss.tell(self)

    def _stop_watching(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None

    async def _keep_refreshing(self, until_s: float) -> None:
        # A third of what remains: a third of the ttl after a success, ever sooner while the object cannot be reached.
        while not (self.lost or self._is_released):
            await self._calls.sleep(max(SHORTEST_PAUSE_S, self.remaining() / 3))
            if self._calls.now_s() >= until_s:
                self._calls.logger.warning("lock %r reached its max_hold and is not refreshed any more", self._key)
                return
            try:
                await self.refresh()
            except LockError as error:
                self._calls.logger.warning("lock %r could not be refreshed: %s", self._key, error)


def reliable_s(valid_ms: int) -> float:
    """How much of a lease its holder may rely on, in seconds: a margin is left for clocks that run at different speeds."""
    return valid_ms / 1000 * (1 - MARGIN_PER_TTL) - MARGIN_S
