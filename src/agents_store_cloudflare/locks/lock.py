"""A held lock: its remaining time, its refreshes and its release."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_values import JsonObject
from agents_store_cloudflare.contract.locks import Lock
from agents_store_cloudflare.locks.calls import Answer, LockCalls
from agents_store_cloudflare.locks.lease import Grant
from agents_store_cloudflare.locks.loss import Loss
from agents_store_cloudflare.locks.options import checked_ttl_ms

__all__ = ["DurableObjectLock", "Lease"]

MARGIN_S: Final = 0.005
MARGIN_PER_TTL: Final = 0.02
SHORTEST_PAUSE_S: Final = 0.02
SHORTEST_LOOK_S: Final = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A lease as its holder knows it. `deadline_s` is a time of the holder's clock. It is never after the end of the lease."""

    owner: str
    request_id: str
    ttl_ms: int
    grant: Grant
    deadline_s: float


class DurableObjectLock(Lock):
    """A `Lock`: one lease on one key, made by a lock manager. Give it to every write that it protects, as `fencing_token`."""

    def __init__(self, calls: LockCalls, key: str, lease: Lease) -> None:
        self._calls = calls
        self._key = key
        self._lease = lease
        self._ttl_ms = lease.ttl_ms
        self._expires_at = lease.grant.expires_at
        self._deadline_s = lease.deadline_s
        self._answers = 0
        self._is_released = False
        self._is_releasing = False
        self._is_given_back = False
        self._is_left = False
        self._is_leaving = False
        self._loss = Loss[DurableObjectLock](calls.logger)
        self._hold_until_s = 0.0
        self._waits_to_refresh = False
        self._refresher: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None

    def __del__(self) -> None:
        if not self._is_left and (remaining_s := self.remaining()) > 0:
            warnings.warn(
                f"lock {self._key!r} was dropped while it was held; the key stays closed for up to {remaining_s:.1f} s more. "
                "Use `async with lock_manager.lock(…)`, or call release()",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )

    def __repr__(self) -> str:
        state = "released" if self._is_released else "lost" if self.lost else f"{self.remaining():.1f} s remain"
        return f"<Lock {self._key!r} token {self.fencing_token} owner {self.owner!r}: {state}>"

    @property
    def key(self) -> str:
        return self._key

    @property
    def owner(self) -> str:
        return self._lease.owner

    @property
    def fencing_token(self) -> int:
        return self._lease.grant.fencing_token

    @property
    def expires_at(self) -> int:
        return self._expires_at

    @property
    def lost(self) -> bool:
        return not self._is_released and (self._loss.is_told() or self.remaining() == 0)

    def remaining(self) -> float:
        if self._is_released or self._loss.is_told():
            return 0.0
        return max(0.0, self._deadline_s - self._calls.now_s())

    async def refresh(self, ttl: float | timedelta | None = None, *, ttl_ms: float | None = None) -> bool:
        given_ms = checked_ttl_ms(ttl, ttl_ms, "ttl")
        if self._is_released or self._loss.is_told():
            return False
        wanted_ms = self._ttl_ms if given_ms is None else given_ms
        answers_before = self._answers
        answer = await self._calls.call(self._key, "refresh", {"fencingToken": self.fencing_token, "ttlMs": wanted_ms})
        if self._was_released_meanwhile():
            return False
        if answer.value is None and self._is_leaving:
            return False
        if answer.value is None:
            self._stop_watching()
            self._loss.tell(self)
        if self._loss.is_told():
            return False
        self._extended(wanted_ms, answer, is_alone=self._answers == answers_before)
        return True

    def _was_released_meanwhile(self) -> bool:
        return self._is_released

    def _extended(self, ttl_ms: int, answer: Answer, *, is_alone: bool) -> None:
        deadline_s, expires_at = answer.sent_s + reliable_s(ttl_ms), answer.value
        if not is_alone:
            # Another refresh was on its way at the same time. Either may have arrived last, so the earlier end counts.
            deadline_s, expires_at = min(deadline_s, self._deadline_s), min(expires_at, self._expires_at)
        is_sooner = deadline_s < self._deadline_s
        self._answers += 1
        self._ttl_ms, self._deadline_s, self._expires_at = ttl_ms, deadline_s, expires_at
        if is_sooner:
            self._look_again()

    async def release(self) -> bool:
        if self._is_released and not self._is_releasing:
            return False
        # Another release may be on its way. This release is sent too, so that the key is free when the call returns.
        is_watched = self._watcher is not None
        self._is_released = self._is_releasing = True
        self.stop_background()
        try:
            was_held = await self._release()
        except asyncio.CancelledError:
            # The release may not have been sent. Two releases have one effect.
            finishing = self._calls.finishing
            await finishing.wait_for([finishing.start(self._release())])
            raise
        except BaseException:
            self._is_released = self._is_given_back  # another release at the same time may have succeeded
            if is_watched:
                self._watch()
            raise
        finally:
            self._is_releasing = False
        is_first, self._is_given_back = not self._is_given_back, True
        self._is_released = True
        self.stop_background()
        return was_held and is_first

    async def _release(self) -> bool:
        answer = await self._calls.call(self._key, "release", self.release_arguments())
        return bool(answer.value)

    def release_arguments(self) -> JsonObject:
        """Return the arguments of a release."""
        return {"fencingToken": self.fencing_token, "requestId": self._lease.request_id}

    @property
    def is_given_back(self) -> bool:
        """Whether a release has had its answer."""
        return self._is_given_back

    def leave(self, *, is_leaving: bool) -> None:
        """Note that a release with other calls has begun, or has failed. While it runs, a refresh that finds no lease is no loss."""
        self._is_leaving = is_leaving

    def gave_back(self) -> None:
        """Note that a release on its way with other calls has had its answer."""
        self._is_released = self._is_given_back = True
        self.stop_background()

    def on(self, event: Literal["lost"], callback: Callable[[DurableObjectLock], object]) -> Callable[[], None]:
        if event != "lost":
            raise InvalidArgumentError(f"there is no event {event!r}; there is 'lost'")
        if not callable(callback):
            raise TypeError(f"callback must be callable, not {type(callback).__name__}")
        unsubscribe = self._loss.subscribe(callback)
        self._watch()

        def end() -> None:
            unsubscribe()
            if self._refresher is None and not self._waits_to_refresh and not self._loss.has_callbacks():
                self._stop_watching()

        return end

    def keep_refreshed(self, hold_ms: int) -> None:
        """Refresh in the background at each third of the ttl, until the lock is released or lost, or `hold_ms` have passed."""
        self._hold_until_s = self._calls.now_s() + hold_ms / 1000
        self._waits_to_refresh = True
        self._stop_watching()
        self._watch()

    def let_expire(self) -> None:
        """Stop the refreshes and do not release the lock: it ends with its ttl."""
        self.stop_background()
        self._is_left = True

    def stop_background(self) -> None:
        """End auto-refresh and the watch for the loss."""
        self._waits_to_refresh = False
        if self._refresher is not None:
            self._refresher.cancel()
            self._refresher = None
        self._stop_watching()

    def _look_again(self) -> None:
        """Let the background tasks compute their pauses again, because the lease ends earlier than before."""
        if self._refresher not in (None, asyncio.current_task()):
            self._refresher.cancel()
            self._refresher = None
            self._waits_to_refresh = True
        if self._watcher is not None:
            self._stop_watching()
            self._watch()

    def _watch(self) -> None:
        # The watch is a task of its own: the call of the refreshing task may hang when the lease ends.
        if self._watcher is None and not self._is_released:
            self._watcher = asyncio.get_running_loop().create_task(self._tell_when_lost())

    async def _tell_when_lost(self) -> None:
        if self._waits_to_refresh:
            # A lock that is held briefly has one task.
            await self._calls.sleep(min(self._pause_s(), self.remaining()))
            self._waits_to_refresh = False
            self._refresher = asyncio.get_running_loop().create_task(self._keep_refreshing())
        while (remaining_s := self.remaining()) > 0:
            await self._calls.sleep(max(SHORTEST_LOOK_S, remaining_s))
        if self.lost:
            self._loss.tell(self)

    def _stop_watching(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None

    def _pause_s(self) -> float:
        # A third of the remaining time: a third of the ttl after a success, then less and less while the object cannot be reached.
        return max(SHORTEST_PAUSE_S, self.remaining() / 3)

    async def _keep_refreshing(self) -> None:
        while not (self.lost or self._is_released):
            if self._calls.now_s() >= self._hold_until_s:
                self._calls.logger.warning("lock %r reached its max_hold and is not refreshed any more", self._key)
                return
            try:
                await self.refresh()
            except Exception as error:  # noqa: BLE001 - after any failure the next attempt may save the lease
                self._calls.logger.warning("lock %r could not be refreshed: %s", self._key, error)
            await self._calls.sleep(self._pause_s())


def reliable_s(valid_ms: int) -> float:
    """Return the seconds of a lease on which its holder may rely. They are fewer than the ttl, because clocks run at different speeds."""
    return valid_ms / 1000 * (1 - MARGIN_PER_TTL) - MARGIN_S
