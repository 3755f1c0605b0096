"""Response bodies that end while they still hold text for their clients.

A body may hold up to its window and a page when its stream ends or is deleted. The client gets this text as long as it reads. A client
that reads nothing for a minute is let go, and the text with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from agents_store_cloudflare.objects import EventBody, ObjectHost

__all__ = ["BodyEnds"]

FIRST_LOOK_MS: Final = 1_000
"""Most clients have read everything by then, so the object may sleep soon."""

LOOK_MS: Final = 15_000
PATIENCE: Final = 4
"""The number of looks in a row at which a client may have read nothing."""


class BodyEnds:
    """Ends response bodies. A timer looks at the bodies that their clients have not read to the end."""

    def __init__(self, host: ObjectHost) -> None:
        self._host = host
        self._unread: dict[EventBody, int] = {}
        self._cancel_timer: Callable[[], None] | None = None

    def end(self, body: EventBody, last: str = "") -> None:
        """End a body after the text that it holds and the text `last`. It is broken off if the client reads nothing for a minute."""
        body.close(last)
        if body.has_ended():
            return
        body.has_read()  # from now on
        self._unread[body] = 0
        if self._cancel_timer is None:
            self._cancel_timer = self._host.call_later(FIRST_LOOK_MS, self._look)

    def _look(self) -> None:
        for body, looks in list(self._unread.items()):
            if body.has_ended():
                del self._unread[body]
            elif body.has_read():
                self._unread[body] = 0
            elif looks < PATIENCE:
                self._unread[body] = looks + 1
            else:
                del self._unread[body]
                body.break_off()
        self._cancel_timer = self._host.call_later(LOOK_MS, self._look) if self._unread else None
