"""The calls of a lock that are sent to its object together with other calls."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from agents_store_cloudflare.locks.acquiring import Acquirer, Wanted
from agents_store_cloudflare.locks.calls import Answer, request_text, value_of
from agents_store_cloudflare.locks.lock import DurableObjectLock

__all__ = ["Acquiring", "Releasing"]


class Acquiring:
    """An acquire as a `Companion`. It does not wait for the key.

    Attributes:
        lock: the lock. None before the grant, and if the key is not free.
    """

    def __init__(self, acquirer: Acquirer, key: str, wanted: Wanted, now_s: Callable[[], float]) -> None:
        self.lock: DurableObjectLock | None = None
        self._acquirer = acquirer
        self._key = key
        self._wanted = wanted
        self._now_s = now_s
        self._request_id = uuid.uuid4().hex
        self._sent_s = 0.0
        self._is_left = False

    def request(self) -> str:
        self._sent_s = self._now_s()
        return request_text(self._key, "acquire", {**self._wanted.request(self._request_id), "waitMs": 0})

    def hear(self, reply: str) -> None:
        answer = Answer(value=value_of(self._key, reply), sent_s=self._sent_s)
        if self.lock is not None:
            self.lock.let_expire()  # a repetition has got the same grant again
        self.lock = self._acquirer.granted(self._key, answer, self._request_id, self._wanted)
        if self._is_left:
            self.leave()

    def settle(self) -> None:
        """Do nothing, because a grant with a lost reply ends with its ttl."""

    def leave(self) -> None:
        """Do not release the lock: it ends with its ttl, also if it is granted later."""
        self._is_left = True
        if self.lock is not None:
            self.lock.let_expire()


class Releasing:
    """A release as a `Companion`."""

    def __init__(self, lock: DurableObjectLock) -> None:
        self._lock = lock

    def request(self) -> str:
        self._lock.leave(is_leaving=True)
        return request_text(self._lock.key, "release", self._lock.release_arguments())

    def hear(self, reply: str) -> None:
        value_of(self._lock.key, reply)
        self._lock.gave_back()

    def settle(self) -> None:
        self._lock.leave(is_leaving=False)
