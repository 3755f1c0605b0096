"""Several keys at once: all of them or none, and no two that wait for each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from agents_store_cloudflare.contract.errors import LockError
from agents_store_cloudflare.locks.lock import DurableObjectLock

__all__ = ["HeldLocks"]


class HeldLocks(Mapping[str, DurableObjectLock]):
    """The locks of several keys, held together: `locks[key]` is each one's, with its own fencing token."""

    def __init__(self, locks: Sequence[DurableObjectLock]) -> None:
        self._locks = {lock.key: lock for lock in locks}

    def __getitem__(self, key: str) -> DurableObjectLock:
        return self._locks[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._locks)

    def __len__(self) -> int:
        return len(self._locks)

    @property
    def lost(self) -> bool:
        """Whether one of them is lost: stop."""
        return any(lock.lost for lock in self._locks.values())

    def remaining(self) -> float:
        """Seconds for which all of them can be relied on."""
        return min(lock.remaining() for lock in self._locks.values())

    async def release(self) -> bool:
        """Give all of them back; whether all were still held.

        Raises:
            LockError: no reply for one of them; the others are given back. It may be released again.
        """
        failures: list[Exception] = []
        were_held = True
        for lock in reversed(self._locks.values()):
            try:
                were_held = await lock.release() and were_held
            except LockError as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return were_held
