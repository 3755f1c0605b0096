"""Live connections in one process of CPython: a response body with its reader, and a WebSocket with both its ends."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from agents_store_cloudflare.objects import ObjectSocket, PullsFrames

__all__ = ["LocalEvents", "LocalSocket"]

ROOM: Final = 256 * 1024
ABNORMAL_CLOSURE: Final = 1006


class LocalEvents:
    """An `EventBody` and the client that reads it.

    Attributes:
        is_open: True while neither side has closed it.
        was_broken_off: the object has ended it with an error.
    """

    def __init__(self) -> None:
        self._source: PullsFrames | None = None
        self._waiting: deque[str] = deque()
        self._waiting_size = 0
        self._was_read = False
        self.is_open: bool = True
        self.was_broken_off: bool = False

    @property
    def stream(self) -> LocalEvents:
        """The object that is sent as the body."""
        return self

    @property
    def held_bytes(self) -> int:
        """The size of the pushed text that the client has not read, in characters."""
        return self._waiting_size

    def feed_from(self, source: PullsFrames) -> None:
        """Set the source that fills the body."""
        self._source = source

    def push(self, frames: str) -> bool:
        """Push a text. Return False, and take nothing, if the body is full or its client is gone.

        Raises:
            ValueError: the text is empty. A body in JavaScript breaks off then.
        """
        if not frames:
            raise ValueError("an empty text cannot be pushed")
        if not self.is_open or self._waiting_size >= ROOM:
            return False
        self._waiting.append(frames)
        self._waiting_size += len(frames)
        return True

    def has_read(self) -> bool:
        """Return whether the client has read something since the last call, or has nothing to read."""
        has_read, self._was_read = self._was_read or not self._waiting, False
        return has_read

    def has_ended(self) -> bool:
        """Return whether the client has read everything of a closed body or is gone, or the body was broken off."""
        return not self.is_open and not self._waiting

    def close(self, last: str = "") -> None:
        """End the body after the text that it holds. A full body takes the short text `last` too."""
        if last and self.is_open:
            self._waiting.append(last)
            self._waiting_size += len(last)
        self.is_open = False

    def break_off(self) -> None:
        """End the body with an error, and drop the text that it holds."""
        self.is_open, self.was_broken_off = False, True
        self._drop()

    def read(self) -> str:
        """Read all available text, as a client does. A listener that is behind pushes the rest meanwhile."""
        received: list[str] = []
        while True:
            self.pull()
            if not self._waiting:
                return "".join(received)
            received += self._waiting
            self._was_read = True
            self._drop()

    def read_some(self) -> str:
        """Read the oldest pushed text alone."""
        self._was_read = True
        text = self._waiting.popleft()
        self._waiting_size -= len(text)
        return text

    def pull(self) -> None:
        """Ask for text, as the platform does while there is room. Nothing is read."""
        if self._source is not None and self.is_open:
            self._source.pull()

    def leave(self) -> None:
        """Go away, as a client does."""
        self.is_open = False
        self._drop()
        if self._source is not None:
            self._source.cancel()

    def _drop(self) -> None:
        self._waiting.clear()
        self._waiting_size = 0


class LocalSocket:
    """The client's end of a WebSocket whose object may hibernate.

    Attributes:
        server: the object's end.
        messages: what the object has sent, oldest first.
        close_code: the code of the close, None while the socket is open.
        close_reason: the text of the close.
    """

    def __init__(
        self, on_message: Callable[[ObjectSocket, str], None], on_close: Callable[[ObjectSocket, int], None]
    ) -> None:
        self._on_message = on_message
        self._on_close = on_close
        self._has_left = False
        self.server: ObjectSocket = _ServerEnd(self)
        self.messages: list[str] = []
        self.close_code: int | None = None
        self.close_reason: str = ""

    @property
    def is_open(self) -> bool:
        """Whether neither side has closed it."""
        return self.close_code is None

    @property
    def can_hear(self) -> bool:
        """Whether a message of the object still arrives."""
        return self.is_open and not self._has_left

    async def send(self, text: str) -> None:
        """Send a message to the object. `ping` is answered without the object."""
        await asyncio.sleep(0)
        if text == "ping":
            self.messages.append("pong")
        else:
            self._on_message(self.server, text)

    async def close(self, code: int = 1000) -> None:
        """Close the socket, as a client does. If the object does not close its end, the close code is 1006."""
        await asyncio.sleep(0)
        if self.is_open and not self._has_left:
            self._has_left = True
            self._on_close(self.server, code)
            self.break_off()

    def break_off(self, code: int = ABNORMAL_CLOSURE, reason: str = "") -> None:
        """End the connection without telling the object."""
        if self.close_code is None:
            self.close_code, self.close_reason = code, reason


class _ServerEnd:
    """The object's end."""

    def __init__(self, client: LocalSocket) -> None:
        self._client = client
        self._attachment = ""

    def send(self, text: str) -> bool:
        if not self._client.can_hear:
            return False
        self._client.messages.append(text)
        return True

    def attach(self, text: str) -> None:
        if len(text.encode()) > 16_384:
            raise ValueError("an attachment has at most 16,384 bytes")
        self._attachment = text

    def attachment(self) -> str:
        return self._attachment

    def close(self, code: int, reason: str) -> None:
        self._client.break_off(code, reason)
