"""How a caller reaches a Durable Object."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar, runtime_checkable

from agents_store_cloudflare.database.backoff import backoff_s

__all__ = ["KeepsLines", "ObjectCallError", "ObjectNamespace", "T", "with_retry"]

T = TypeVar("T")


class ObjectNamespace(Protocol):
    """A Durable Object binding: one object per name."""

    async def call(self, name: str, request: str) -> str:
        """Send one text to the object called `name` and return its reply.

        Raises:
            ObjectCallError: no reply came; the object may or may not have acted.
        """
        ...


@runtime_checkable
class KeepsLines(Protocol):
    """A namespace that keeps something open for calls in a row."""

    def hang_up(self, name: str) -> None:
        """Nothing is to follow for the object called `name`, as far as one knows."""
        ...


class ObjectCallError(Exception):
    """A call that brought no reply.

    Attributes:
        retryable: the platform says that the same call may be sent again.
        overloaded: the object has more work than it can take: do not send again at once.
    """

    def __init__(self, message: str, *, retryable: bool = False, overloaded: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.overloaded = overloaded


async def with_retry(
    send: Callable[[], Awaitable[T]], *, attempts: int = 4, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> T:
    """What `send` brings back from an object, sent again while no reply comes, pausing as `backoff_s` says.

    Only for requests that are safe to send twice. An overloaded object is not asked again.

    Raises:
        ObjectCallError: no attempt brought a reply.
    """
    attempt = 1
    while True:
        try:
            return await send()
        except ObjectCallError as error:
            if error.overloaded or attempt == attempts:
                raise
        await sleep(backoff_s(attempt))
        attempt += 1
