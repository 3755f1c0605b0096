"""The Durable Object seams: how a caller reaches an object, and what an object has of its platform.

Callers see an `ObjectNamespace`; the objects' own logic (`StreamObject`, `LockObject`) sees an `ObjectHost`. Below them is
either Cloudflare (`bindings.py`) or one process of CPython (`testing.LocalObjects`), and the logic cannot tell which.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from agents_store_cloudflare.backoff import backoff_s
from agents_store_cloudflare.database import ObjectSql

__all__ = ["ObjectCallError", "ObjectHost", "ObjectLogic", "ObjectNamespace", "with_retry"]

T = TypeVar("T")


class ObjectNamespace(Protocol):
    """A Durable Object binding: one object per name."""

    async def call(self, name: str, request: str) -> str:
        """Send one text to the object called `name` and return its reply.

        Raises:
            ObjectCallError: no reply came; the object may or may not have acted.
        """
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


class ObjectHost(Protocol):
    """What the logic of a Durable Object may use of its platform."""

    @property
    def sql(self) -> ObjectSql:
        """The object's own database."""
        ...

    def now_ms(self) -> int:
        """The object's clock, in milliseconds since 1970."""
        ...

    def set_alarm(self, at_ms: int | None) -> None:
        """Have `alarm` called at `at_ms`, instead of any time set before; None takes it away. Each setting is a written row."""
        ...

    def call_later(self, delay_ms: int, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` once after `delay_ms`; the result cancels it. While it is pending the object cannot hibernate."""
        ...


class ObjectLogic(Protocol):
    """What a Durable Object does with a call: pure Python, the same on every platform."""

    async def call(self, request: str) -> str:
        """Answer one request text (`wire.py`) with one reply text; errors are inside the reply."""
        ...

    async def alarm(self) -> None:
        """Do what is due."""
        ...
