"""The server's end of a WebSocket under the hibernation API."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, TypeAlias

from pyodide.ffi import JsException

from agents_store_cloudflare.cloudflare.raw import called

JsObject: TypeAlias = Any  # what crosses from JavaScript has no Python type

__all__ = ["CloudflareSocket"]


class CloudflareSocket:
    """A hibernatable WebSocket, raw, as an `ObjectSocket`."""

    def __init__(self, socket: JsObject) -> None:
        self._socket = socket

    def send(self, text: str) -> bool:
        """Send one message. Return False if the socket is closed."""
        try:
            called(self._socket.send, [text], self._socket)
        except JsException:
            return False
        return True

    def attach(self, text: str) -> None:
        """Keep a text with the socket. It replaces an earlier text, and survives hibernation of the object."""
        self._socket.serializeAttachment(text)

    def attachment(self) -> str:
        """Return the text that `attach` kept, or ""."""
        kept = self._socket.deserializeAttachment()
        return kept if isinstance(kept, str) else ""

    def close(self, code: int, reason: str) -> None:
        """Close the socket. Closing it again does nothing."""
        with suppress(JsException):
            self._socket.close(code, reason)
