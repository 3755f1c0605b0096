"""Several locks held together: all of them or none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from agents_store_cloudflare.contract.locks import LockSet
from agents_store_cloudflare.database.finishing import Finishing
from agents_store_cloudflare.locks.lock import DurableObjectLock

__all__ = ["HeldLocks", "released"]


async def released(locks: Sequence[DurableObjectLock], finishing: Finishing) -> Sequence[bool | BaseException]:
    """Release all locks at once. Return for each lock whether it was still held, or the error of its release."""
    if len(locks) != 1:
        return await finishing.outcomes(lock.release() for lock in locks) if locks else []
    try:
        return [await locks[0].release()]
    except Exception as error:  # noqa: BLE001 - the caller handles the error
        return [error]


class HeldLocks(Mapping[str, DurableObjectLock], LockSet):
    """The locks of several keys, held together: `locks[key]` is one `Lock`, with its own fencing token."""

    def __init__(self, locks: Sequence[DurableObjectLock], finishing: Finishing) -> None:
        self._locks = {lock.key: lock for lock in locks}
        self._finishing = finishing

    def __getitem__(self, key: str) -> DurableObjectLock:
        return self._locks[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._locks)

    def __len__(self) -> int:
        return len(self._locks)

    def __repr__(self) -> str:
        return f"HeldLocks({list(self._locks.values())!r})"

    @property
    def lost(self) -> bool:
        return any(lock.lost for lock in self._locks.values())

    def remaining(self) -> float:
        return min(lock.remaining() for lock in self._locks.values())

    async def release(self) -> bool:
        outcomes = await released(list(self._locks.values()), self._finishing)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return all(outcomes)
