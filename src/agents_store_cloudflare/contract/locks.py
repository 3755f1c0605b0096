"""The contract of a lock manager."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Protocol, TypedDict, Unpack

from agents_store_cloudflare.contract.arguments import Seconds
from agents_store_cloudflare.contract.record import Record

__all__ = ["Lock", "LockAcquireOptions", "LockBlockOptions", "LockHolder", "LockManager", "LockSet"]


class LockAcquireOptions(TypedDict, total=False):
    """The keywords of `LockManager.acquire` and `acquire_all`; as a mapping, to hand around: `acquire(key, **options)`."""

    ttl: Seconds | None
    """How long the lease lasts unless it is refreshed: seconds or a timedelta, at most 86,400 seconds; the manager's by default."""

    ttl_ms: float | None
    """The ttl in milliseconds."""

    owner: str | None
    """A name for people who look at the lease. It gives no rights. By default one is made."""

    wait: Seconds | None
    """How long to queue for the key, in seconds or as a timedelta; requests are served in order. By default the call does not wait."""

    auto_refresh: bool
    """Refresh at a third of the ttl, in the background, until the lock is released or the manager's `max_hold` has passed."""

    lock_delay: Seconds | None
    """How long the key stays closed after this lease has expired without a release; the manager's by default."""


class LockBlockOptions(LockAcquireOptions, total=False):
    """The keywords of `LockManager.lock` and `locks`."""

    cancel_when_lost: bool
    """Cancel the block when the lock is lost, before another can hold it. The block ends with `LockLostError`."""


class Lock(Protocol):
    """A lease on a key, with its fencing token: pass the lock to every write it protects."""

    @property
    def key(self) -> str:
        """The key that is locked."""
        ...

    @property
    def owner(self) -> str:
        """The name that `acquire` was given, or a made one."""
        ...

    @property
    def fencing_token(self) -> int:
        """The number of this grant: it rises with every grant of the key, for ever."""
        ...

    @property
    def expires_at(self) -> int:
        """When the lease ends, by the lock object's clock, in milliseconds since 1970."""
        ...

    @property
    def lost(self) -> bool:
        """Whether this holder must stop: a refresh was refused, or no time remains. False after `release()`."""
        ...

    def remaining(self) -> float:
        """Seconds for which this holder may rely on the lease: counted from before the request was sent, less a margin.

        0 once it is released or lost. In a Worker clocks stand still between two awaits: ask after an await.
        """
        ...

    async def refresh(self, ttl: Seconds | None = None, *, ttl_ms: float | None = None) -> bool:
        """Extend the lease to `ttl` from now; False when it is lost (expired or taken over) or released: stop working.

        Args:
            ttl: seconds or a timedelta, the lock's from now on, also for auto-refresh; by default the ttl stays.
            ttl_ms: the ttl in milliseconds.

        Raises:
            LockError: no reply; `remaining()` counts down as if nothing had happened.
        """
        ...

    async def release(self) -> bool:
        """Give the lease back. True when it was still held; False when it had expired or was released before.

        A release whose reply is lost is sent again and gets its first answer, whoever has held the key since. A cancellation goes on
        when the lease is given back.

        Raises:
            LockError: no reply; the lease may last until its ttl ends. It may be released again.
        """
        ...

    def on(self, event: Literal["lost"], callback: Callable[[Lock], object]) -> Callable[[], None]:
        """Call `callback` with the lock, once, when it is lost, before another can hold the key.

        A holder that stands still is told too late; then its fencing token protects the data. An exception of the callback is logged
        and stops nothing.

        Returns:
            A callable that unsubscribes.
        """
        ...


class LockSet(Protocol):
    """The locks of several keys, held together: a mapping of each key to its `Lock`, with its own fencing token."""

    def __getitem__(self, key: str) -> Lock:
        """The lock of a key."""
        ...

    def __iter__(self) -> Iterator[str]:
        """The keys."""
        ...

    def __len__(self) -> int:
        """The number of keys."""
        ...

    @property
    def lost(self) -> bool:
        """Whether one of the locks is lost: stop."""
        ...

    def remaining(self) -> float:
        """Seconds for which this holder may rely on all the locks."""
        ...

    async def release(self) -> bool:
        """Give all of them back at once; True when all were still held. A cancellation goes on when all are given back.

        Raises:
            LockError: no reply for one of them; the others are given back. It may be released again.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LockHolder(Record):
    """Who holds a key, for people who look.

    Attributes:
        owner: the name that the holder gave, or one that was made for it.
        fencing_token: the token of its lease.
        expires_at: when the lease ends unless it is refreshed: milliseconds since 1970, by the lock object's clock.
    """

    key: str
    owner: str
    fencing_token: int
    expires_at: int


class LockManager(Protocol):
    """Leases on keys. At most one is live for a key; an expired one is never revived; tokens rise with every grant.

    The keywords of all calls that acquire are described once, in `LockAcquireOptions` and `LockBlockOptions`.
    """

    async def acquire(self, key: str, **options: Unpack[LockAcquireOptions]) -> Lock | None:
        """A lock, or None when somebody holds the key and the wait, if any, ran out. Locks are not re-entrant.

        Cancelled while it waits, it leaves the queue; a lock that was granted meanwhile is given back.

        Args:
            key: any id; keys do not know each other.
            options: see `LockAcquireOptions`: ttl, ttl_ms, owner, wait, auto_refresh, lock_delay.

        Raises:
            InvalidArgumentError: the key or an option breaks its rule.
            LockError: the object could not be reached; `outcome_unknown` says whether a grant may stand until its ttl ends.
        """
        ...

    async def acquire_all(self, keys: Iterable[str], **options: Unpack[LockAcquireOptions]) -> LockSet | None:
        """The locks of all keys, or None and none of them. Callers that acquire several keys by this call cannot wait in a circle.

        The keys are taken in the order of their characters; `wait` is for all together. When a call fails or is cancelled in between,
        everything taken is given back.

        Args:
            keys: 1 to 100 keys; a repeated key counts once.
            options: see `LockAcquireOptions`.

        Raises:
            InvalidArgumentError: a key or an option breaks its rule.
            LockError: an object could not be reached.
        """
        ...

    async def is_locked(self, key: str) -> bool:
        """Whether the key cannot be had now: somebody holds it, or a `lock_delay` keeps it closed.

        Raises:
            LockError: the object could not be reached.
        """
        ...

    async def get_holder(self, key: str) -> LockHolder | None:
        """Who holds the key now; None when nobody does, also while a `lock_delay` keeps it closed.

        For operators: by the time the answer is here, the lease may be over. Only a fencing token protects data.

        Raises:
            LockError: the object could not be reached.
        """
        ...

    async def delete(self, key: str) -> bool:
        """Forget a key that is free; False when it is not free. When the key is locked again, its tokens rise on.

        Raises:
            LockError: the object could not be reached; the key may be forgotten.
        """
        ...

    def lock(self, key: str, **options: Unpack[LockBlockOptions]) -> AbstractAsyncContextManager[Lock]:
        """Hold the key for the length of an `async with` block.

        However the block ends, the key is given back. A failure of that is logged, not raised: the body is done, and the lease ends by
        itself. A cancellation goes on when the key is given back.

        Args:
            key: any id.
            options: as `acquire` takes them, and `cancel_when_lost`; see `LockBlockOptions`.

        Raises:
            LockNotAcquiredError: `acquire` would return None.
            LockLostError: with `cancel_when_lost`, the lock was lost in the block.
            LockError: the object could not be reached.
        """
        ...

    def locks(self, keys: Iterable[str], **options: Unpack[LockBlockOptions]) -> AbstractAsyncContextManager[LockSet]:
        """Hold several keys for the length of an `async with` block, all or none: see `acquire_all` and `lock`.

        Args:
            keys: 1 to 100 keys; a repeated key counts once.
            options: see `LockBlockOptions`.

        Raises:
            LockNotAcquiredError: one of the keys could not be had; the error names it.
            LockLostError: with `cancel_when_lost`, one of the locks was lost in the block.
            LockError: an object could not be reached.
        """
        ...
