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
    """The keyword arguments of `LockManager.acquire` and `acquire_all`.

    Keep them in a mapping, and pass it on: `acquire(key, **options)`.
    """

    ttl: Seconds | None
    """How long the lease lasts unless it is refreshed:

    seconds or a timedelta, at most 86,400 seconds. The default is the manager's `ttl`.
    """

    ttl_ms: float | None
    """The ttl in milliseconds."""

    owner: str | None
    """A name for people who look at the lease. It gives no rights. By default the manager makes one."""

    wait: Seconds | None
    """How long to queue for the key, in seconds or as a timedelta. Requests are served in order. By default the call does not wait."""

    auto_refresh: bool
    """Refresh the lease in the background after each third of the ttl, until the lock is released or the manager's `max_hold` has
    passed.
    """

    lock_delay: Seconds | None
    """How long nobody can acquire the key after this lease has expired without a release. The default is the manager's `lock_delay`."""


class LockBlockOptions(LockAcquireOptions, total=False):
    """The keyword arguments of `LockManager.lock` and `locks`."""

    cancel_when_lost: bool
    """Cancel the block when the lock is lost, before somebody else can hold the key. The block ends with `LockLostError`."""


class Lock(Protocol):
    """A lease on a key, with its fencing token. Pass the lock to every write that it protects."""

    @property
    def key(self) -> str:
        """The key that is locked."""
        ...

    @property
    def owner(self) -> str:
        """The name that the caller gave to `acquire`, or the name that the manager made."""
        ...

    @property
    def fencing_token(self) -> int:
        """The number of this grant. Every later grant of the key has a higher number."""
        ...

    @property
    def expires_at(self) -> int:
        """When the lease ends, by the lock object's clock, in milliseconds since 1970."""
        ...

    @property
    def lost(self) -> bool:
        """True when this holder must stop, because a refresh was refused or no time remains. False after `release()`."""
        ...

    def remaining(self) -> float:
        """Return the seconds for which this holder may rely on the lease.

        They count from before the request was sent, less a margin.

        The result is 0 when the lock is released or lost. In a Worker the clock stands still between two awaits, so ask after an
        await.
        """
        ...

    async def refresh(self, ttl: Seconds | None = None, *, ttl_ms: float | None = None) -> bool:
        """Extend the lease to `ttl` from now. False means that the lock is released, expired or taken over: stop working.

        Args:
            ttl: seconds or a timedelta. Later refreshes use it too, also the automatic ones. By default the ttl stays.
            ttl_ms: the ttl in milliseconds.

        Raises:
            LockError: no reply came. `remaining()` counts down as if this call had not been made.

        Cost: 1 object call (1 row read, 1 written).
        """
        ...

    async def release(self) -> bool:
        """Give the lease back. True means that it was still held. False means that it had expired or was released before.

        When the reply of a release is lost, the release is sent again. It gets its first answer, even if others have held the key
        since. A cancelled call gives the lease back first, then it raises the cancellation.

        Raises:
            LockError: no reply came. The lease may last until its ttl ends. You may call `release` again.

        Cost: 1 object call (1 row read, 1 written).
        """
        ...

    def on(self, event: Literal["lost"], callback: Callable[[Lock], object]) -> Callable[[], None]:
        """Call `callback` once with the lock when the lock is lost, before somebody else can hold the key.

        A process that was paused gets the call too late. Then the fencing token protects the data. An exception of the callback is
        logged and has no other effect.

        Args:
            event: "lost", the only one.
            callback: called with this lock.

        Returns:
            A function that unsubscribes the callback.
        """
        ...


class LockSet(Protocol):
    """The locks of several keys, held together: a mapping of each key to its `Lock`. Each lock has its own fencing token."""

    def __getitem__(self, key: str) -> Lock:
        """Return the lock of a key."""
        ...

    def __iter__(self) -> Iterator[str]:
        """Return an iterator over the keys."""
        ...

    def __len__(self) -> int:
        """Return the number of keys."""
        ...

    @property
    def lost(self) -> bool:
        """True when one of the locks is lost. Then stop."""
        ...

    def remaining(self) -> float:
        """Return the seconds for which this holder may rely on all the locks."""
        ...

    async def release(self) -> bool:
        """Give all the locks back at once. True means that all were still held.

        A cancelled call gives all of them back first, then it raises the cancellation.

        Raises:
            LockError: no reply came for one of them. The others are given back. You may call `release` again.

        Cost: 3 object calls (3 rows read, 3 written).
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LockHolder(Record):
    """The holder of a key, for people who look at it.

    Attributes:
        owner: the name that the holder gave, or the name that its manager made.
        fencing_token: the token of its lease.
        expires_at: when the lease ends unless it is refreshed: milliseconds since 1970, by the lock object's clock.
    """

    key: str
    owner: str
    fencing_token: int
    expires_at: int


class LockManager(Protocol):
    """Leases on keys. A key has at most one live lease, an expired lease never comes back, and tokens rise with every grant.

    `LockAcquireOptions` and `LockBlockOptions` describe the keyword arguments of all calls that acquire.
    """

    async def acquire(self, key: str, **options: Unpack[LockAcquireOptions]) -> Lock | None:
        """Return a lock, or None when somebody holds the key until the wait is over. Locks are not re-entrant.

        A call that is cancelled while it waits leaves the queue. If the lock was granted meanwhile, the call gives it back.

        Args:
            key: any id. Different keys are independent, also when one is the beginning of another.
            options: see `LockAcquireOptions`: ttl, ttl_ms, owner, wait, auto_refresh, lock_delay.

        Raises:
            InvalidArgumentError: the key or an option breaks its rule.
            LockError: the object could not be reached; `outcome_unknown` says whether a grant may stand until its ttl ends.

        Cost: 1 object call (1-2 rows read, 0-1 written).
        """
        ...

    async def acquire_all(self, keys: Iterable[str], **options: Unpack[LockAcquireOptions]) -> LockSet | None:
        """Return the locks of all keys, or None:

        then no key is locked. Callers of this method cannot wait for each other in a circle.

        The keys are acquired in the order of their characters. `wait` is the time for all of them together. When the call fails or
        is cancelled, it gives back every key that it has acquired.

        Args:
            keys: 1 to 100 keys; a repeated key counts once.
            options: see `LockAcquireOptions`.

        Raises:
            InvalidArgumentError: a key or an option breaks its rule.
            LockError: an object could not be reached.

        Cost: 3 object calls (6 rows read, 3 written).
        """
        ...

    async def is_locked(self, key: str) -> bool:
        """Return True when nobody can acquire the key now, because somebody holds it or a `lock_delay` has not passed.

        Raises:
            LockError: the object could not be reached.

        Cost: 1 object call (1 row read).
        """
        ...

    async def get_holder(self, key: str) -> LockHolder | None:
        """Return the present holder of the key.

        None when nobody holds it, also while a `lock_delay` keeps others from acquiring it.

        This is for operators: the lease may have ended when the answer arrives. Only a fencing token protects data.

        Raises:
            LockError: the object could not be reached.

        Cost: 1 object call (1 row read).
        """
        ...

    async def delete(self, key: str) -> bool:
        """Forget a free key. False means that the key is not free. Later grants of the key still have higher tokens.

        Raises:
            LockError: the object could not be reached. The key may be forgotten or not.

        Cost: 1 object call (2 rows read, 2 written).
        """
        ...

    def lock(self, key: str, **options: Unpack[LockBlockOptions]) -> AbstractAsyncContextManager[Lock]:
        """Hold the key during an `async with` block.

        The key is given back at the end of the block, also after an exception. A failed release is logged and not raised, because
        the body is done and the lease ends by itself. A cancelled block gives the key back before it raises the cancellation.

        Args:
            key: any id.
            options: the options of `acquire`, and `cancel_when_lost`; see `LockBlockOptions`.

        Raises:
            LockNotAcquiredError: somebody holds the key; in this case `acquire` returns None.
            LockLostError: the lock was lost in the block, and `cancel_when_lost` is True.
            LockError: the object could not be reached.

        Cost: 2 object calls (2 rows read, 2 written).
        """
        ...

    def locks(self, keys: Iterable[str], **options: Unpack[LockBlockOptions]) -> AbstractAsyncContextManager[LockSet]:
        """Hold several keys during an `async with` block, all or none. See `acquire_all` and `lock`.

        Args:
            keys: 1 to 100 keys; a repeated key counts once.
            options: see `LockBlockOptions`.

        Raises:
            LockNotAcquiredError: one of the keys could not be acquired; the error names it.
            LockLostError: one of the locks was lost in the block, and `cancel_when_lost` is True.
            LockError: an object could not be reached.

        Cost: 6 object calls (6 rows read, 6 written).
        """
        ...
