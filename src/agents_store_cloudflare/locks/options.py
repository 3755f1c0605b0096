"""The options of a lock manager."""

from __future__ import annotations

import asyncio
import logging
import time
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Final, TypedDict

from agents_store_cloudflare.contract.arguments import check_whole_number, span_ms
from agents_store_cloudflare.contract.errors import InvalidArgumentError

__all__ = ["MAX_TTL_S", "LockOptions", "LockSettings", "checked_ttl_ms"]

MAX_TTL_S: Final = 86_400
UNUSUAL_TTL_S: Final = 3_600
"""A bare number above this was probably meant in milliseconds."""

MAX_SHARDS: Final = 10_000
DEFAULT_TTL_MS: Final = 30_000
HOLDS_PER_TTL: Final = 10


class LockSettings(TypedDict, total=False):
    """The keyword arguments of `DurableObjectLockManager`. `LockOptions` explains them."""

    default_ttl: float | timedelta | None
    default_ttl_ms: float | None
    max_hold: float | timedelta | None
    lock_delay: float | timedelta | None
    shards: int | None
    logger: logging.Logger | None
    now_s: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LockOptions:
    """The options of `DurableObjectLockManager`.

    Attributes:
        default_ttl: the length of a lease when a call gives no ttl: seconds or a timedelta, at most 86,400 s, 30 s by default.
        default_ttl_ms: the same in milliseconds.
        max_hold: the time after which auto-refresh stops: seconds or a timedelta, ten times the lock's ttl by default. So a
            coroutine that hangs does not hold a lock for ever.
        lock_delay: the time for which nobody can acquire a key after its lease has expired without a release: seconds or a
            timedelta, 0 by default. Effects that check no fencing token (a mail, a payment) have this time to end.
        shards: the number of objects that share the keys; by default each key has an object of its own. Use shards for many small
            keys: an object costs storage and a cold start, a key does not. Change the number only while no lease is live: a lock of
            one number does not exclude a lock of another number.
        logger: gets the failures of background work; `agents_store_cloudflare.locks` by default.
        now_s: the clock of `remaining()`, in seconds from any point in time. It must never go back.
        sleep: waits for auto-refresh and between attempts.
    """

    default_ttl: float | timedelta | None = None
    default_ttl_ms: float | None = None
    max_hold: float | timedelta | None = None
    lock_delay: float | timedelta | None = None
    shards: int | None = None
    logger: logging.Logger | None = None
    now_s: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    def __post_init__(self) -> None:
        self.ttl_ms()
        self.hold_ms(DEFAULT_TTL_MS)
        self.delay_ms(None)
        if self.shards is not None:
            check_whole_number(self.shards, "shards", low=1, high=MAX_SHARDS)

    def ttl_ms(self) -> int:
        """Return the default ttl in whole milliseconds.

        Raises:
            TypeError: the ttl was given twice, or it is neither a number of seconds nor a timedelta.
            InvalidArgumentError: it is zero, negative or over 86,400 seconds.
        """
        given = checked_ttl_ms(self.default_ttl, self.default_ttl_ms, "default_ttl")
        return DEFAULT_TTL_MS if given is None else given

    def hold_ms(self, ttl_ms: int) -> int:
        """Return the milliseconds for which auto-refresh keeps a lock of this ttl."""
        given = span_ms(self.max_hold, None, "max_hold")
        return ttl_ms * HOLDS_PER_TTL if given is None else given

    def delay_ms(self, given: float | timedelta | None) -> int:
        """Return the delay after an expiry in milliseconds: the call's delay if it has one, otherwise the delay of these options."""
        delay = self.lock_delay if given is None else given
        return span_ms(delay, None, "lock_delay", most_seconds=MAX_TTL_S) or 0

    def object_name(self, key: str) -> str:
        """Return the name of the object that keeps a key.

        The name of a shard begins with `__`, as no key may, and holds the number of shards.
        """
        if self.shards is None:
            return key
        index = int.from_bytes(sha256(key.encode()).digest()[:8], "big") % self.shards
        return self.shard_name(index)

    def shard_name(self, index: int) -> str:
        """Return the name of one of the objects that share the keys."""
        return f"__locks-{index}-of-{self.shards}"


def checked_ttl_ms(ttl: float | timedelta | None, ttl_ms: float | None, name: str) -> int | None:
    """Return the ttl in whole milliseconds, from seconds or milliseconds; None if it was not given.

    Raises:
        TypeError: the ttl was given twice, or it is neither a number of seconds nor a timedelta.
        InvalidArgumentError: it is under one millisecond, or over 86,400 seconds, which looks like milliseconds.

    Warns:
        UserWarning: it is a bare number over 3,600 seconds, which looks like milliseconds too.
    """
    span = span_ms(ttl, ttl_ms, name, most_seconds=MAX_TTL_S)
    if span == 0:
        raise InvalidArgumentError(f"{name} is under one millisecond; a lease must last for some time")
    if isinstance(ttl, int | float) and ttl > UNUSUAL_TTL_S:
        warnings.warn(
            f"{name}={ttl:,.6g} is a lease of {ttl / 3600:.1f} hours, for which a Worker that dies keeps the key closed. "
            f"For milliseconds use {name}_ms; for hours pass a timedelta, which is taken without a warning",
            UserWarning,
            stacklevel=4,
        )
    return span
