"""How a stream manager's writers behave."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from agents_store_cloudflare.arguments import check_whole_number, span_ms, system_now_ms
from agents_store_cloudflare.errors import InvalidArgumentError
from agents_store_cloudflare.streams.blocks import MAX_CHUNK_BYTES

__all__ = ["StreamOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """The options of `DurableObjectStreamManager`.

    Attributes:
        buffer_size: how many chunks a writer takes before it stores them, 1 to 100,000.
        flush_interval: seconds (or a timedelta) after which a writer stores what it has, at most 60; 0.1 where
            neither is given. flush_interval_ms: the same in milliseconds. overflow: what a write does when the buffer
            is full and cannot be stored: "wait" (at most 30 s, then `StreamConnectionError`) or "drop_oldest" (lose
            the oldest chunk and emit `buffer_overflow`).
        max_chunk_bytes: the largest chunk, as UTF-8 JSON; 1 to 1,900,000.
        logger: takes failures in the background; `agents_store_cloudflare.streams` where absent.
        wait_until: `ctx.waitUntil` of the request. With it, a timer stores what the flush interval has left behind;
            without it, the next write, flush or close does.
        now_ms: the clock of `timestamp` and of the flush interval.
        sleep: how timers and pauses between attempts are waited for.
    """

    buffer_size: int = 100
    flush_interval: float | timedelta | None = None
    flush_interval_ms: float | None = None
    overflow: Literal["wait", "drop_oldest"] = "wait"
    max_chunk_bytes: int = 1_000_000
    logger: logging.Logger | None = None
    wait_until: Callable[[Awaitable[None]], object] | None = None
    now_ms: Callable[[], int] = system_now_ms
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    def __post_init__(self) -> None:
        if self.flush_interval is None and self.flush_interval_ms is None:
            object.__setattr__(self, "flush_interval", 0.1)
        check_whole_number(self.buffer_size, "buffer_size", low=1, high=100_000)
        check_whole_number(self.max_chunk_bytes, "max_chunk_bytes", low=1, high=MAX_CHUNK_BYTES)
        self.interval_ms()
        if self.overflow not in ("wait", "drop_oldest"):
            raise InvalidArgumentError(f"overflow must be 'wait' or 'drop_oldest', not {self.overflow!r}")

    def interval_ms(self) -> int:
        """The flush interval in whole milliseconds.

        Raises:
            TypeError: given twice, or not a span.
            InvalidArgumentError: over 60 seconds.
        """
        return span_ms(self.flush_interval, self.flush_interval_ms, "flush_interval", most_seconds=60) or 0
