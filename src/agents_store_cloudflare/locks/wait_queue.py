"""The queue of the requests that wait for a key. It knows no rules about leases."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TypeAlias

from agents_store_cloudflare.locks.lease import Grant, LeaseRequest

__all__ = ["Reply", "WaitQueue", "Waiter"]

Reply: TypeAlias = "asyncio.Future[Grant | None]"


@dataclass(slots=True, eq=False)
class Waiter:
    """One waiting request and its calls. It has several calls if the caller asked again before the first call ended."""

    request: LeaseRequest
    replies: list[Reply] = field(default_factory=list[Reply])

    def answer(self, grant: Grant) -> None:
        for reply in self.replies:
            if not reply.done():
                reply.set_result(grant)


class WaitQueue:
    """The waiters of one key, first come, first served. A waiter leaves when its last call ends."""

    def __init__(self) -> None:
        self._waiters: list[Waiter] = []

    def __bool__(self) -> bool:
        return bool(self._waiters)

    def join(self, request: LeaseRequest) -> tuple[Waiter, Reply]:
        """Return the request's waiter. If it has none, a new waiter goes to the end of the queue."""
        waiter = self._find(request.request_id)
        if waiter is None:
            waiter = Waiter(request)
            self._waiters.append(waiter)
        reply: Reply = asyncio.get_running_loop().create_future()
        waiter.replies.append(reply)
        return waiter, reply

    def leave(self, waiter: Waiter, reply: Reply) -> None:
        """End one call. Ending it again changes nothing."""
        if reply in waiter.replies:
            waiter.replies.remove(reply)
        if not waiter.replies and waiter in self._waiters:
            self._waiters.remove(waiter)

    def drop(self, request_id: str) -> None:
        """Take a request out of the queue; its waiting calls get None."""
        waiter = self._find(request_id)
        if waiter is not None:
            self._waiters.remove(waiter)
            for reply in waiter.replies:
                if not reply.done():
                    reply.set_result(None)

    def pop_first(self) -> Waiter:
        return self._waiters.pop(0)

    def first(self) -> Waiter:
        return self._waiters[0]

    def fail(self, error: Exception) -> None:
        """Fail every waiting call, and empty the queue."""
        waiters, self._waiters = self._waiters, []
        for reply in (reply for waiter in waiters for reply in waiter.replies):
            if not reply.done():
                reply.set_exception(error)

    def _find(self, request_id: str) -> Waiter | None:
        return next((waiter for waiter in self._waiters if waiter.request.request_id == request_id), None)
