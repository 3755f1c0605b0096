"""The options of a stream manager."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal, TypedDict

from agents_store_cloudflare.contract.arguments import check_flag, check_whole_number, span_ms, system_now_ms
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_values import JsonValue
from agents_store_cloudflare.streams.blocks import MAX_CHUNK_BYTES

__all__ = ["StreamOptions", "StreamSettings"]

LOSS_WINDOW_MS: Final = 1_000
LONGEST_KEPT_S: Final = 400 * 86_400


class StreamSettings(TypedDict, total=False):
    """The keyword arguments of `DurableObjectStreamManager`. `StreamOptions` explains them."""

    buffer_size: int
    flush_interval: float | timedelta | None
    flush_interval_ms: float | None
    overflow: Literal["wait", "drop_oldest"]
    max_chunk_bytes: int
    keep_after_end: float | timedelta | None
    keep_idle: float | timedelta | None
    keep_chunks: int | None
    adaptive: bool
    loss_window: float | timedelta | None
    loss_window_ms: float | None
    logger: logging.Logger | None
    wait_until: Callable[[Awaitable[None]], object] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """The options of `DurableObjectStreamManager`.

    Attributes:
        buffer_size: the number of chunks that a writer takes before it stores them, 1 to 100,000.
        flush_interval: the time after which a writer stores its chunks: seconds or a timedelta, at most 60 s, 0.1 s by default.
        flush_interval_ms: the same in milliseconds. Give one of the two.
        overflow: says what `write` does when the buffer is full and cannot be stored. "wait": it waits at most 30 s, then it raises
            `StreamConnectionError`. "drop_oldest": it drops the oldest chunk and emits `buffer_overflow`.
        max_chunk_bytes: the most bytes of one chunk as UTF-8 JSON, 1 to 1,900,000.
        keep_after_end: the time after which an ended or failed stream is deleted: seconds or a timedelta, at most 400 days, 24
            hours by default. None keeps it. A stream gets `keep_after_end`, `keep_idle` and `keep_chunks` at its creation. A later
            writer with other options does not change them.
        keep_idle: the same for a stream that has not ended. The time counts from its last change, and is 7 days by default.
        keep_chunks: at least this number of the newest chunks is kept, and at most a quarter more. None keeps all.
        adaptive: a write goes to the stream at once, and live readers see the chunk. The stream stores it within the loss window,
            in larger blocks. A crash of the stream's object loses the chunks that it has shown and not stored. `flush` and `close`
            make them durable.
        loss_window: the time within which shown chunks are stored: seconds or a timedelta, at most 60 s, 1 s by default.
        loss_window_ms: the same in milliseconds. Give one of the two.
        logger: gets the failures of background work; `agents_store_cloudflare.streams` by default.
        wait_until: `ctx.waitUntil` of the request. With it, a timer stores waiting chunks after the flush interval. Without
            it, the next write, flush or close stores them. A turn has this timer in any case.
        now_ms: the clock of `timestamp` and of the flush interval.
        sleep: waits for timers, and between attempts.
    """

    buffer_size: int = 100
    flush_interval: float | timedelta | None = None
    flush_interval_ms: float | None = None
    overflow: Literal["wait", "drop_oldest"] = "wait"
    max_chunk_bytes: int = 1_000_000
    keep_after_end: float | timedelta | None = 86_400
    keep_idle: float | timedelta | None = 7 * 86_400
    keep_chunks: int | None = None
    adaptive: bool = False
    loss_window: float | timedelta | None = None
    loss_window_ms: float | None = None
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
        self.whole_loss_window_ms()
        self.retention_spans()
        if self.keep_chunks is not None:
            check_whole_number(self.keep_chunks, "keep_chunks", low=1)
        check_flag(self.adaptive, "adaptive")
        if self.overflow not in ("wait", "drop_oldest"):
            raise InvalidArgumentError(f"overflow must be 'wait' or 'drop_oldest', not {self.overflow!r}")

    def interval_ms(self) -> int:
        """Return the flush interval in whole milliseconds.

        Raises:
            TypeError: the interval was given twice, or it is neither a number of seconds nor a timedelta.
            InvalidArgumentError: it is over 60 seconds.
        """
        return span_ms(self.flush_interval, self.flush_interval_ms, "flush_interval", most_seconds=60) or 0

    def whole_loss_window_ms(self) -> int:
        """Return the loss window in whole milliseconds. It raises the errors of `interval_ms`."""
        window_ms = span_ms(self.loss_window, self.loss_window_ms, "loss_window", most_seconds=60)
        return LOSS_WINDOW_MS if window_ms is None else window_ms

    def retention_spans(self) -> list[JsonValue]:
        """Return the retention of new streams: both spans in milliseconds, and the number of chunks.

        Raises:
            TypeError: a span is neither a number of seconds nor a timedelta.
            InvalidArgumentError: a span is over 400 days. It was probably meant in milliseconds.
        """
        after_end_ms = span_ms(self.keep_after_end, None, "keep_after_end", most_seconds=LONGEST_KEPT_S)
        idle_ms = span_ms(self.keep_idle, None, "keep_idle", most_seconds=LONGEST_KEPT_S)
        return [after_end_ms, idle_ms, self.keep_chunks]
