"""Runs work that must complete even if its caller is cancelled, such as the release of a lock."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final, TypeVar

__all__ = ["Finishing", "quietly"]

GRACE_S: Final = 5.0

T = TypeVar("T")


class Finishing:
    """Runs work in tasks of its own. A cancellation of the caller does not reach them.

    Args:
        sleep: waits for the time limit after a cancellation.
    """

    def __init__(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._sleep = sleep
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task for the work, and keep it until it ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def outcomes(self, works: Iterable[Coroutine[Any, Any, T]]) -> list[T | BaseException]:
        """Do pieces of work at the same time, and return their results or errors.

        When the caller is cancelled, it still waits, as `wait_for` does.
        """
        tasks = [self.start(work) for work in works]
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            await self.wait_for(tasks)
            raise
        return [task.exception() or task.result() for task in tasks]

    async def wait_for(self, tasks: Iterable[asyncio.Task[Any]]) -> None:
        """Wait for tasks whose caller was cancelled, at most 5 seconds. After that they go on in the background.

        A caller that is cancelled again stops waiting.
        """
        waiting = {task for task in tasks if not task.done()}
        if not waiting:
            return
        limit = asyncio.ensure_future(self._sleep(GRACE_S))
        everything = asyncio.ensure_future(asyncio.wait(waiting))
        try:
            await asyncio.wait({everything, limit}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            everything.cancel()
            limit.cancel()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # perhaps nobody waits for it any more


async def quietly(call: Awaitable[object], what: str, logger: logging.Logger) -> None:
    """Wait for a call whose failure changes nothing for the caller, and log the failure.

    Args:
        call: the call, e.g. the release of a lock, which otherwise ends by itself.
        what: the line for the log, e.g. "the lock ends with its ttl".
        logger: gets the line and the traceback.
    """
    try:
        await call
    except Exception:
        logger.warning("%s", what, exc_info=True)
