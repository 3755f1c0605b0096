"""A WebSocket client: a connection, its text messages with a deadline, and nothing else of RFC 6455."""

import base64
import json
import os
import socket
import struct
import time
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from tests.end_to_end.sse_client import PATIENCE_S

__all__ = ["SocketClient", "SocketRefusedError"]

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class SocketRefusedError(Exception):
    """The server's answer was not 101."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status}: {body!r}")
        self.status = status
        self.body = body


class SocketClient:
    """One WebSocket.

    Attributes:
        close_code: the server's, once it has closed.
    """

    def __init__(self, base: str, path: str, *, headers: dict[str, str] | None = None) -> None:
        netloc = urlsplit(base).netloc
        host, port = netloc.split(":")
        self._received = b""
        self.close_code: int | None = None
        self._socket = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {netloc}",
            *("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}"),
            *(f"{name}: {value}" for name, value in (headers or {}).items()),
        ]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self._check_answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, text: str) -> None:
        """Send a text message."""
        self._send(TEXT, text.encode())

    def frames(self, *, patience_s: float = PATIENCE_S) -> list[dict[str, Any]]:
        """Return the frames of the next message, or none if the server has closed."""
        text = self.message(patience_s=patience_s)
        return [] if text is None else [json.loads(line) for line in text.split("\n")]

    def message(self, *, patience_s: float = PATIENCE_S) -> str | None:
        """Return the next message, or None if the server has closed."""
        deadline = time.monotonic() + patience_s
        text = b""
        while True:
            is_last, kind, payload = self._frame(deadline)
            if kind == CLOSE:
                self.close_code = struct.unpack("!H", payload[:2])[0] if payload else 1005
                self._send(CLOSE, payload[:2])
                return None
            if kind == PING:
                self._send(PONG, payload)
                continue
            text += payload
            if is_last:
                return text.decode()

    def _frame(self, deadline: float) -> tuple[bool, int, bytes]:
        first, second = self._bytes(2, deadline)
        size = second & 0x7F
        if size == 126:
            size = int(struct.unpack("!H", self._bytes(2, deadline))[0])
        elif size == 127:
            size = int(struct.unpack("!Q", self._bytes(8, deadline))[0])
        return bool(first & 0x80), first & 0x0F, self._bytes(size, deadline)

    def _bytes(self, count: int, deadline: float) -> bytes:
        while len(self._received) < count:
            self._socket.settimeout(max(0.01, deadline - time.monotonic()))
            piece = self._socket.recv(65_536)
            if not piece:
                raise ConnectionError("the connection broke without a close")
            self._received += piece
        taken, self._received = self._received[:count], self._received[count:]
        return taken

    def _send(self, kind: int, payload: bytes) -> None:
        mask = os.urandom(4)
        size = struct.pack("!B", 0x80 | len(payload)) if len(payload) < 126 else struct.pack("!BH", 0xFE, len(payload))
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        self._socket.sendall(bytes([0x80 | kind]) + size + mask + masked)

    def _check_answer(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += self._bytes(1, deadline)
        status = int(answer.split(b" ", 2)[1])
        if status == 101:
            return
        length = next(
            (int(line.split(b":")[1]) for line in answer.split(b"\r\n") if line.lower().startswith(b"content-length:")),
            0,
        )
        body = self._bytes(length, deadline)
        self._socket.close()
        raise SocketRefusedError(status, body)
