"""The loss of a lock: its callbacks, and the cancellation of the block that the lock protects."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Generic, TypeVar

from agents_store_cloudflare.contract.errors import LockLostError
from agents_store_cloudflare.contract.locks import Lock

__all__ = ["CancelledWhenLost", "Loss"]

LockT = TypeVar("LockT", bound=Lock)


class Loss(Generic[LockT]):
    """The loss of one lock, and its callbacks. Each callback is called once, also when it is added after the loss.

    The loss is final when the callbacks were called: the holder has stopped, even if a late reply says that the lease goes on.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._callbacks: dict[object, Callable[[LockT], object]] = {}
        self._lost: LockT | None = None

    def is_told(self) -> bool:
        return self._lost is not None

    def has_callbacks(self) -> bool:
        return bool(self._callbacks)

    def subscribe(self, callback: Callable[[LockT], object]) -> Callable[[], None]:
        if self._lost is not None:
            self._call(callback, self._lost)
            return lambda: None
        registration = object()
        self._callbacks[registration] = callback

        def unsubscribe() -> None:
            self._callbacks.pop(registration, None)

        return unsubscribe

    def tell(self, lock: LockT) -> None:
        if self._lost is not None:
            return
        self._lost = lock
        self._logger.warning("lock %r is lost; writes with its token are refused from now on", lock.key)
        callbacks, self._callbacks = self._callbacks, {}
        for callback in callbacks.values():
            self._call(callback, lock)

    def _call(self, callback: Callable[[LockT], object], lock: LockT) -> None:
        try:
            callback(lock)
        except Exception:
            self._logger.warning("a callback for the loss of lock %r failed", lock.key, exc_info=True)


class CancelledWhenLost:
    """Cancels its `async with` block when one of the locks is lost, as `asyncio.timeout` cancels a block when the time is up.

    After a loss it raises `LockLostError`. An error of the block itself, or a cancellation by somebody else, comes first.
    """

    def __init__(self, locks: Sequence[Lock]) -> None:
        self._locks = locks
        self._subscriptions: list[Callable[[], None]] = []
        self._lost: str | None = None

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("cancel_when_lost needs a task to cancel")
        self._task = task
        self._cancelling = task.cancelling()
        self._subscriptions += [lock.on("lost", self._cancel) for lock in self._locks]

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for unsubscribe in self._subscriptions:
            unsubscribe()
        if self._lost is None:
            return
        is_cancelled = isinstance(error, asyncio.CancelledError)
        if not is_cancelled:
            # The block ended without an await after the loss, or swallowed the cancellation.
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
        is_cancelled_outside = self._task.uncancel() > self._cancelling
        if is_cancelled_outside and error is None:
            raise asyncio.CancelledError
        if not is_cancelled_outside and (error is None or is_cancelled):
            raise LockLostError(self._lost) from error

    def _cancel(self, lock: Lock) -> None:
        if self._lost is None:
            self._lost = lock.key
            self._task.cancel()
