"""The timer of a writer: it stores the waiting chunks when the flush interval has passed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from agents_store_cloudflare.contract.errors import AgentsStoreError

__all__ = ["FlushTimer"]


class FlushTimer:
    """Flushes in the background after the flush interval. Without a `wait_until` it does nothing.

    Args:
        stream_id: the stream's id, for log lines.
        interval_s: the flush interval in seconds.
        flush: stores the chunks. Its error is logged, and the next call of the writer raises it.
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
        self._running: asyncio.Task[None] | None = None
        self._is_stopped = False

    @property
    def is_usable(self) -> bool:
        """Whether there is a `wait_until` that has not failed."""
        return self._wait_until is not None

    def start(self) -> None:
        """Begin the interval, unless it runs already."""
        if self._wait_until is None or self._running is not None:
            return
        self._running = task = asyncio.ensure_future(self._flush_later())
        try:
            self._wait_until(task)
        except Exception:
            self._logger.warning("wait_until failed; no more timers for stream %r", self._stream_id, exc_info=True)
            task.cancel()
            self._running = self._wait_until = None

    def stop(self) -> None:
        """End the timer: the writer is closed."""
        self._is_stopped = True
        if self._running is not None:
            self._running.cancel()

    async def _flush_later(self) -> None:
        try:
            await self._sleep(self._interval_s)
        except asyncio.CancelledError:
            if not self._is_stopped:
                raise
            return
        finally:
            self._running = None
        try:
            await self._flush()
        except AgentsStoreError:
            # The writer remembers the error: its next call sends again, or raises it.
            self._logger.warning("a flush of stream %r by timer failed", self._stream_id, exc_info=True)
