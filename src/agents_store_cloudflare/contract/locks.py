"""The contract of a lock manager."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from agents_store_cloudflare.contract.arguments import Seconds

__all__ = ["Lock", "LockAcquireOptions", "LockManager", "LockSet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LockAcquireOptions:
    """The keyword arguments of `LockManager.acquire`, as a record to hand around."""

    ttl: Seconds | None = None
    owner: str | None = None
    wait: Seconds | None = None
    auto_refresh: bool = False
    lock_delay: Seconds | None = None


class Lock(Protocol):
    """A lease on a key, with its fencing token: pass the lock to every write it protects."""

    @property
    def key(self) -> str: ...
    @property
    def owner(self) -> str: ...
    @property
    def fencing_token(self) -> int:
        """Rises with every grant of the key, for ever."""
        ...

    @property
    def expires_at(self) -> int:
        """When the lease ends, by the lock object's clock, in milliseconds since 1970."""
        ...

    @property
    def lost(self) -> bool:
        """Whether this holder must stop: a refresh was refused, or nothing remains. False after `release()`."""
        ...

    def remaining(self) -> float:
        """Seconds for which this holder may rely on the lease: counted from before the request was sent, less a margin."""
        ...

    async def refresh(self, ttl: Seconds | None = None, *, ttl_ms: float | None = None) -> bool:
        """Extend the lease to `ttl` from now; False when it is lost (expired or taken over): stop working."""
        ...

    async def release(self) -> bool:
        """Give the lease back; False when it was not held any more."""
        ...

    def on(self, event: Literal["lost"], callback: Callable[[Lock], object]) -> Callable[[], None]:
        """Call `callback` with the lock, once, when it is lost: before another can hold the key. The result unsubscribes.

        Before, unless this holder itself stands still: then nothing can tell it, and its fencing token is what protects the data.
        """
        ...


class LockSet(Protocol):
    """The locks of several keys, held together: a mapping of each key to its `Lock`, with its own fencing token."""

    def __getitem__(self, key: str) -> Lock: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...
    @property
    def lost(self) -> bool:
        """Whether one of them is lost: stop."""
        ...

    def remaining(self) -> float:
        """Seconds for which this holder may rely on all of them."""
        ...

    async def release(self) -> bool:
        """Give all of them back; whether all were still held."""
        ...


class LockManager(Protocol):
    """Leases on keys. At most one is live for a key; an expired one is never revived; tokens rise with every grant."""

    async def acquire(
        self,
        key: str,
        *,
        ttl: Seconds | None = None,
        ttl_ms: float | None = None,
        owner: str | None = None,
        wait: Seconds | None = None,
        auto_refresh: bool = False,
        lock_delay: Seconds | None = None,
    ) -> Lock | None:
        """A lock, or None when somebody holds it (also oneself: it is not re-entrant) and the wait, if any, ran out.

        Args:
            ttl: how long the lease lasts unless it is refreshed; at most 86,400 seconds.
            owner: a name for people who look at the lease; it gives no rights. One is made when absent.
            wait: how long to queue for the key; those who wait are served in order.
            auto_refresh: refresh at a third of the ttl, in the background, until it is released or its `max_hold` has passed.
            lock_delay: for how long nobody gets the key after this lease has expired without a release; the manager's where absent.

        Raises:
            LockError: the object could not be reached; `outcome_unknown` says whether a grant may stand until its ttl ends.
        """
        ...

    async def acquire_all(
        self,
        keys: Iterable[str],
        *,
        ttl: Seconds | None = None,
        ttl_ms: float | None = None,
        owner: str | None = None,
        wait: Seconds | None = None,
        auto_refresh: bool = False,
        lock_delay: Seconds | None = None,
    ) -> LockSet | None:
        """The locks of all keys, or None and none of them. Whoever acquires several keys by this call cannot wait in a circle.

        Keys are taken in the order of their characters; `wait` is for all together. Where a call in between fails, what was taken is
        given back.
        """
        ...

    async def is_locked(self, key: str) -> bool:
        """Whether the key cannot be had now: somebody holds it, or a `lock_delay` keeps it closed."""
        ...

    async def delete(self, key: str) -> bool:
        """Forget a key that is free; False where it is not. Should it be locked again, its tokens rise on all the same."""
        ...

    def lock(
        self,
        key: str,
        *,
        ttl: Seconds | None = None,
        ttl_ms: float | None = None,
        owner: str | None = None,
        wait: Seconds | None = None,
        auto_refresh: bool = False,
        lock_delay: Seconds | None = None,
        cancel_when_lost: bool = False,
    ) -> AbstractAsyncContextManager[Lock]:
        """Hold the key for the length of an `async with` block; `LockNotAcquiredError` where `acquire` gives None.

        Args:
            cancel_when_lost: cancel the block when the lock is lost, before another can hold it; it ends with `LockLostError`.
        """
        ...

    def locks(
        self,
        keys: Iterable[str],
        *,
        ttl: Seconds | None = None,
        ttl_ms: float | None = None,
        owner: str | None = None,
        wait: Seconds | None = None,
        auto_refresh: bool = False,
        lock_delay: Seconds | None = None,
        cancel_when_lost: bool = False,
    ) -> AbstractAsyncContextManager[LockSet]:
        """Hold several keys for the length of a block, all or none: see `acquire_all` and `lock`."""
        ...
