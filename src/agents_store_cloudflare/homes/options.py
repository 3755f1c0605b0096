"""What a store with homes can be told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from agents_store_cloudflare.contract.arguments import check_flag, span_ms
from agents_store_cloudflare.contract.json_values import JsonObject

__all__ = ["SessionOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """Options of homes, as `create_cloudflare_store` takes them beside `sessions=`.

    Attributes:
        home_streams: the lock and the stream that bear a home's name live in the home's object, beside its sessions. Without it they
            have objects of their own, as a child's always do. A home keeps the answer of its first Worker for good.
        directory: homes tell D1 of their sessions, so that `list_sessions` and `cleanup_expired_sessions` find them. Without it
            these two calls say so. A home keeps this for good too.
        directory_delay: seconds (or a timedelta, at most 60) after which the directory and the totals of usage follow a change; 1 by
            default. 0: each change is told before its call returns, which costs the caller a call of D1.
        directory_delay_ms: the same in milliseconds. Give one of the two.
        check_db: a session is created in a home only if D1 does not hold its id: one read of D1 for a new session. So is a home's
            first lock or stream, only if objects of their own have none of the name: two calls for a new home. Turn it off where
            nothing was stored before the homes.
    """

    home_streams: bool = True
    directory: bool = True
    directory_delay: float | timedelta | None = None
    directory_delay_ms: float | None = None
    check_db: bool = True

    def __post_init__(self) -> None:
        for name in ("home_streams", "directory", "check_db"):
            check_flag(getattr(self, name), name)
        self.delay_ms()

    def delay_ms(self) -> int:
        """Return the delay of the directory in whole milliseconds.

        Raises:
            TypeError: given twice, or not a span.
            InvalidArgumentError: over 60 seconds.
        """
        delay = span_ms(self.directory_delay, self.directory_delay_ms, "directory_delay", most_seconds=60)
        return 1_000 if delay is None else delay

    def for_home(self) -> JsonObject:
        """Return what a home is told with each batch."""
        return {"streams": self.home_streams, "directory": self.directory, "delayMs": self.delay_ms()}
