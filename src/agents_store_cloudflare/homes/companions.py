"""The calls of a home's lock and stream that are sent with a batch of its sessions."""

from __future__ import annotations

from collections.abc import Sequence

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
    """

    def __init__(self, places: Places, acquire: Companion | None, others: Sequence[Companion]) -> None:
        self._places = places
        self.acquire: Companion | None = acquire
        self._others = others

    def requests(self, batch: str) -> list[str]:
        """Return the texts of all calls, the batch among them."""
        before = [] if self.acquire is None else [self.acquire.request()]
        return [*before, batch, *(each.request() for each in self._others)]

    async def send(self, home: str, request: str) -> str:
        """Send all calls as one request.

        Raises:
            NotTogetherError: the home's lock and stream have objects of their own.
            ObjectCallError: no reply came.
        """
        reply = await self._places.call(home, request)
        if reply is None:
            raise NotTogetherError(is_held=False)
        return reply

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
