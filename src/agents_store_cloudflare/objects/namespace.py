"""Calls to Durable Objects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar, runtime_checkable

from agents_store_cloudflare.database.backoff import backoff_s

__all__ = ["KeepsLines", "ObjectCallError", "ObjectNamespace", "T", "with_retry"]

T = TypeVar("T")

TOO_LARGE: Final = "Serialized RPC"
"""The beginning of the platform's error for a request or a reply of over 32 MiB."""

SMALLER: Final = (
    "one call to an object carries at most 32 MiB: give less to one call (fewer or smaller messages), or read less with it "
    "(get_messages(limit=…)), and keep large values elsewhere (R2)"
)


class ObjectNamespace(Protocol):
    """A Durable Object binding. Each name is one object."""

    async def call(self, name: str, request: str) -> str:
        """Send one text to the object called `name` and return its reply.

        Raises:
            ObjectCallError: no reply came. The object may have done the work or not.
        """
        ...


@runtime_checkable
class KeepsLines(Protocol):
    """A namespace that keeps a line open for calls that follow one another."""

    def hang_up(self, name: str) -> None:
        """Close the line to the object called `name`: the caller expects no more calls."""
        ...

    def open_no_line(self, name: str) -> None:
        """Let the next call to the object called `name` open no line, because no call follows it. An open line stays."""
        ...


class ObjectCallError(Exception):
    """A call without a reply.

    Attributes:
        retryable: whether the platform says that the same call may be sent again.
        overloaded: whether the object has more work than it can do. Do not send the call again at once.
        raised: whether the object's own code raised an exception. The same call would raise it again, and log it again.
        too_large: whether the request or the reply is over the platform's limit of 32 MiB. The message says what to do.
    """

    def __init__(
        self, message: str, *, retryable: bool = False, overloaded: bool = False, raised: bool = False
    ) -> None:
        self.too_large: bool = TOO_LARGE in message
        super().__init__(f"{message}; {SMALLER}" if self.too_large else message)
        self.retryable = retryable
        self.overloaded = overloaded
        self.raised = raised

    def is_final(self) -> bool:
        """Return whether the same call, sent again soon, would fail again."""
        return self.overloaded or self.raised or self.too_large


async def with_retry(
    send: Callable[[], Awaitable[T]], *, attempts: int = 4, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> T:
    """Send a request to an object. While no reply comes, send it again after the pauses of `backoff_s`.

    Use it only for requests that are safe to send twice. An object that is overloaded, or whose code raised, is not asked again.

    Raises:
        ObjectCallError: no reply came to any attempt.
    """
    attempt = 1
    while True:
        try:
            return await send()
        except ObjectCallError as error:
            if error.is_final() or attempt == attempts:
                raise
        await sleep(backoff_s(attempt))
        attempt += 1
