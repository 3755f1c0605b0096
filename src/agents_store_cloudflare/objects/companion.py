"""A call that is sent to an object together with other calls."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Companion"]


class Companion(Protocol):
    """A call of a lock or of a stream that a home runs in the transaction of a batch."""

    def request(self) -> str:
        """Return the text to send. It is called again for each sending."""
        ...

    def hear(self, reply: str) -> None:
        """Take note of the reply.

        Raises:
            AgentsStoreError: the call was refused.
        """
        ...

    def settle(self) -> None:
        """Note that the request is no longer sent. A call without a reply may have happened or not."""
        ...
