"""The timer of a writer: it stores the waiting chunks when the flush interval has passed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine

__all__ = ["FlushTimer"]


class FlushTimer:
    """Flushes in the background, after the flush interval or at once. Without a `wait_until` it does nothing.

    Args:
        stream_id: the stream's id, for log lines.
        interval_s: the flush interval in seconds.
        flush: stores the chunks. Its error is logged, and the next call of the writer raises it.

    Attributes:
        is_usable: whether there is a `wait_until` that has not failed.
    """

    def __init__(
        self,
        stream_id: str,
        interval_s: float,
        flush: Callable[[], Awaitable[None]],
        *,
        wait_until: Callable[[Awaitable[None]], object] | None,
        sleep: Callable[[float], Awaitable[None]],
        logger: logging.Logger,
    ) -> None:
        self._stream_id = stream_id
        self._interval_s = interval_s
        self._flush = flush
        self._wait_until = wait_until
        self._sleep = sleep
        self._logger = logger
        self._interval: asyncio.Task[None] | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._is_starting = False
        self._is_wanted_again = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: set[asyncio.Task[None]] = set()
        self._is_stopped = False
        self.is_usable: bool = wait_until is not None

    @property
    def is_starting(self) -> bool:
        """Whether a flush was asked for and has not yet taken its chunks. It takes them in the next step of the event loop."""
        return self._is_starting and _is_alive(self._flushing)

    def start(self) -> None:
        """Begin the interval, unless it runs already."""
        if not _is_alive(self._interval):
            self._interval = self._begin(self._flush_later)

    def flush_now(self) -> None:
        """Flush in the background at once, or after the flush that is on its way. An interval that runs ends without a flush of its own."""
        interval, self._interval = self._interval, None
        if interval is not None and not interval.done():
            self._ended.add(interval)
            # A task that is cancelled before its first step cannot end quietly. The first step is in the queue already.
            asyncio.get_running_loop().call_soon(interval.cancel)
        if _is_alive(self._flushing):
            self._is_wanted_again = True
        else:
            self._is_starting = True
            self._flushing = self._begin(self._flush_quietly)

    def stop(self) -> None:
        """End the timer: the writer is closed. A flush on its way ends too; its chunks stay with the writer."""
        self._is_stopped = True
        for task in self._tasks:
            task.cancel()

    def _begin(self, work: Callable[[], Coroutine[None, None, None]]) -> asyncio.Task[None] | None:
        if self._wait_until is None or self._is_stopped:
            return None
        task = asyncio.ensure_future(self._until_ended(work))
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        try:
            self._wait_until(task)
        except Exception:
            self._logger.warning("wait_until failed; no more timers for stream %r", self._stream_id, exc_info=True)
            task.cancel()
            self._wait_until, self.is_usable = None, False
            return None
        return task

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._ended.discard(task)

    async def _until_ended(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        try:
            await work()
        except asyncio.CancelledError:
            if not self._is_stopped and asyncio.current_task() not in self._ended:
                raise

    async def _flush_later(self) -> None:
        try:
            await self._sleep(self._interval_s)
        except Exception:
            self._logger.warning("the timer of stream %r failed", self._stream_id, exc_info=True)
            return
        task = asyncio.current_task()
        if self._interval is not task:
            return  # a flush has begun meanwhile
        self._interval = None
        if _is_alive(self._flushing):
            self._is_wanted_again = True
        else:
            self._flushing = task
            await self._flush_quietly()

    async def _flush_quietly(self) -> None:
        """Flush until nobody has asked for a further flush. So a writer has one flush on its way, however often it asks."""
        self._is_starting = False
        try:
            self._is_wanted_again = True
            while self._is_wanted_again:
                self._is_wanted_again = False
                await self._flush()
        except Exception:
            # The writer remembers the error: its next call sends again, or raises it.
            self._logger.warning("a flush of stream %r by timer failed", self._stream_id, exc_info=True)


def _is_alive(task: asyncio.Task[None] | None) -> bool:
    return task is not None and not task.done()
