"""The options of a store with homes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from agents_store_cloudflare.contract.arguments import check_flag, span_ms
from agents_store_cloudflare.contract.json_values import JsonObject

__all__ = ["SessionOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """Options of homes, for the argument `session_options` of `create_cloudflare_store`.

    Attributes:
        home_streams: True puts the lock and the stream with the home's name into the home's object, beside its sessions. False
            gives them objects of their own, which the locks and streams of children always have. A home keeps the value of its
            first Worker for ever.
        directory: True makes homes send their sessions to D1, so that `list_sessions` and `cleanup_expired_sessions` find them.
            False makes these two calls raise an error. A home keeps the value of its first Worker for ever.
        directory_delay: the time after which the directory and the totals of usage follow a change: seconds or a timedelta, at most
            60 s, 1 s by default. With 0 each change is sent to D1 before its call returns, so the caller waits for one more call of
            D1.
        directory_delay_ms: the same in milliseconds. Give one of the two.
        check_db: True makes a home create a session only if D1 does not hold its id, which costs one read of D1 for a new session.
            The home's first lock or stream is also created only if no object of its own has the name, which costs two calls for a
            new home. Turn it off when nothing was stored before the homes.
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
            TypeError: the delay was given twice, or it is neither a number of seconds nor a timedelta.
            InvalidArgumentError: the delay is over 60 seconds.
        """
        delay = span_ms(self.directory_delay, self.directory_delay_ms, "directory_delay", most_seconds=60)
        return 1_000 if delay is None else delay

    def for_home(self) -> JsonObject:
        """Return the options that each batch carries to a home."""
        return {"streams": self.home_streams, "directory": self.directory, "delayMs": self.delay_ms()}
