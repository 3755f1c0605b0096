"""The calls of a home's lock and stream that are sent with a batch of its sessions."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from agents_store_cloudflare.homes.places import Places
from agents_store_cloudflare.objects.companion import Companion
from agents_store_cloudflare.state.turn_records import NotTogetherError

__all__ = ["Companions"]


class Companions:
    """The calls that are sent with one batch, in order: an acquire may stand before the batch, the other calls after it.

    Args:
        places: finds the home.
        acquire: the acquire of the home's lock, or None. If the lock is not free, no other call runs.
        others: calls of the stream and of the lock.
        is_last: no other call to the home follows soon.
    """

    def __init__(
        self, places: Places, acquire: Companion | None, others: Sequence[Companion], *, is_last: bool = False
    ) -> None:
        self._places = places
        self.acquire: Companion | None = acquire
        self._others = others
        self._is_last = is_last

    def requests(self, batch: str) -> list[str]:
        """Return the texts of all calls, the batch among them."""
        before = [] if self.acquire is None else [self.acquire.request()]
        return [*before, batch, *(each.request() for each in self._others)]

    def send(self, home: str, request: str) -> Awaitable[str | None]:
        """Send all calls as one request. Return the reply, or None if the home's lock and stream have objects of their own.

        Raises:
            ObjectCallError: no reply came.
        """
        return self._places.call(home, request, is_last=self._is_last)

    def hear(self, replies: Sequence[str]) -> str:
        """Give the replies to the calls, and return the reply of the batch.

        Raises:
            NotTogetherError: the lock is not free.
            AgentsStoreError: a call was refused.
        """
        rest = list(replies)
        if self.acquire is not None:
            self.acquire.hear(rest.pop(0))
            if not rest:
                raise NotTogetherError(is_held=True)
        batch = rest.pop(0)
        for companion, reply in zip(self._others, rest, strict=False):
            companion.hear(reply)
        return batch

    def settle(self) -> None:
        """Note that the request is no longer sent."""
        for each in self._others:
            each.settle()
