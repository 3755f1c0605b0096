"""How a lock manager's locks behave."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from agents_store_cloudflare.arguments import span_ms
from agents_store_cloudflare.errors import InvalidArgumentError

__all__ = ["MAX_TTL_S", "LockOptions", "checked_ttl_ms"]

MAX_TTL_S: Final = 86_400
DEFAULT_TTL_MS: Final = 30_000
HOLDS_PER_TTL: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class LockOptions:
    """The options of `DurableObjectLockManager`.

    Attributes:
        default_ttl: seconds (or a timedelta) that a lease lasts where a call names no ttl; at most 86,400; 30 where neither is given.
        default_ttl_ms: the same in milliseconds.
        max_hold: seconds (or a timedelta) after which auto-refresh stops, so that a coroutine that hangs does not hold for ever; ten
            times the lock's ttl where absent.
        logger: takes failures in the background; `agents_store_cloudflare.locks` where absent.
        now_s: the clock of `remaining()`, in seconds from any point; it must never go back.
        sleep: how auto-refresh and the pauses between attempts wait.
    """

    default_ttl: float | timedelta | None = None
    default_ttl_ms: float | None = None
    max_hold: float | timedelta | None = None
    logger: logging.Logger | None = None
    now_s: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    def __post_init__(self) -> None:
        self.ttl_ms()
        self.hold_ms(DEFAULT_TTL_MS)

    def ttl_ms(self) -> int:
        """The default ttl in whole milliseconds.

        Raises:
            TypeError: given twice, or not a span.
            InvalidArgumentError: zero, negative or over 86,400 seconds.
        """
        given = checked_ttl_ms(self.default_ttl, self.default_ttl_ms, "default_ttl")
        return DEFAULT_TTL_MS if given is None else given

    def hold_ms(self, ttl_ms: int) -> int:
        """For how long auto-refresh keeps a lock of this ttl."""
        given = span_ms(self.max_hold, None, "max_hold")
        return ttl_ms * HOLDS_PER_TTL if given is None else given


def checked_ttl_ms(ttl: float | timedelta | None, ttl_ms: float | None, name: str) -> int | None:
    """Whole milliseconds of a ttl given either way; None where neither is given.

    Raises:
        TypeError: given twice, or not a span.
        InvalidArgumentError: under one millisecond, or over 86,400 seconds: then it looks like milliseconds.
    """
    span = span_ms(ttl, ttl_ms, name, most_seconds=MAX_TTL_S)
    if span == 0:
        raise InvalidArgumentError(f"{name} is under one millisecond; a lease must last for some time")
    return span
