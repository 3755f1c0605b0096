"""A small HTTP client: JSON calls, and server-sent events with a deadline."""

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer; `json` is its decoded body, None where it is not JSON."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Return the decoded body."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event; `sequence` is 0 where it has no id."""

    kind: str
    sequence: int
    data: Any


def call(
    base: str,
    method: str,
    path: str,
    *,
    body: bytes | Iterable[bytes] | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Send one request and read the whole answer. A body of several pieces is sent chunked, without its length."""
    connection = HTTPConnection(urlsplit(base).netloc, timeout=PATIENCE_S)
    try:
        # A server may answer before it has read a body that is too large.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        names = {key.lower(): value for key, value in response.getheaders()}
        return Answer(response.status, names, response.read())
    finally:
        connection.close()


def events(base: str, path: str, *, headers: dict[str, str] | None = None) -> Iterator[Event]:
    """Yield events until the server goes away; silence for `PATIENCE_S`, or more than that in all, is a failure."""
    deadline = time.monotonic() + PATIENCE_S
    connection = HTTPConnection(urlsplit(base).netloc, timeout=PATIENCE_S)
    try:
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        assert response.status == 200, response.read()
        fields: dict[str, str] = {}
        while line := _line(response):
            assert time.monotonic() < deadline, "the stream goes on for too long"
            name, colon, value = line.decode().rstrip("\n").partition(":")
            if name:
                fields[name] = value.removeprefix(" ")
            elif not colon and "data" in fields:
                yield Event(fields.get("event", "message"), int(fields.get("id", 0)), json.loads(fields["data"]))
                fields = {}
    finally:
        connection.close()


def _line(response: Any) -> bytes:
    """Return the next line, or nothing if the connection has ended in any way."""
    try:
        line: bytes = response.readline()
    except (ConnectionResetError, HTTPException):
        return b""
    return line if line.endswith(b"\n") else b""
