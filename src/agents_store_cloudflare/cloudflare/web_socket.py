"""The object's end of a WebSocket under the hibernation API."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, TypeAlias

from pyodide.ffi import JsException

JsObject: TypeAlias = Any  # what crosses from JavaScript has no Python type

__all__ = ["CloudflareSocket"]


class CloudflareSocket:
    """A hibernatable WebSocket, raw, as an `ObjectSocket`."""

    def __init__(self, socket: JsObject) -> None:
        self._socket = socket

    def send(self, text: str) -> bool:
        """`ObjectSocket.send`."""
        try:
            self._socket.send(text)
        except JsException:
            return False
        return True

    def attach(self, text: str) -> None:
        """`ObjectSocket.attach`."""
        self._socket.serializeAttachment(text)

    def attachment(self) -> str:
        """`ObjectSocket.attachment`."""
        kept = self._socket.deserializeAttachment()
        return kept if isinstance(kept, str) else ""

    def close(self, code: int, reason: str) -> None:
        """`ObjectSocket.close`."""
        with suppress(JsException):
            self._socket.close(code, reason)
