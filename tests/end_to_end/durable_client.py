"""What the end-to-end tests of the Durable Streams protocol ask with: plain HTTP, one request a connection."""

from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from urllib.parse import urlsplit

from tests.end_to_end.sse_client import PATIENCE_S, Answer, call

__all__ = ["JSON", "Event", "Streams", "offset"]

JSON = {"Content-Type": "application/json"}


def offset(sequence: int) -> str:
    """Return the offset after a message."""
    return f"{sequence:016d}_{0:016d}"


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event."""

    kind: str
    data: str


@dataclass(frozen=True, slots=True)
class Streams:
    """The streams of one Worker."""

    url: str

    def ask(
        self, method: str, path: str, body: bytes | str | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """Send one request below /v1/stream/."""
        data = body.encode() if isinstance(body, str) else body
        return call(self.url, method, f"/v1/stream/{path}", body=data, headers=headers or {})

    def create(self, path: str, body: str | None = None, headers: dict[str, str] | None = None) -> Answer:
        """Create a stream of JSON."""
        return self.ask("PUT", path, body, {**JSON, **(headers or {})})

    def append(self, path: str, body: str, headers: dict[str, str] | None = None) -> Answer:
        """Append messages with one request."""
        return self.ask("POST", path, body, {**JSON, **(headers or {})})

    def append_pieces(self, path: str, pieces: Iterator[bytes], headers: dict[str, str]) -> Answer:
        """One request's messages, sent without the length of the body."""
        return call(self.url, "POST", f"/v1/stream/{path}", body=pieces, headers=headers)

    def events(self, path: str) -> Iterator[Event]:
        """Return the server-sent events until the server ends."""
        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=PATIENCE_S)
        try:
            connection.request("GET", f"/v1/stream/{path}")
            response = connection.getresponse()
            assert response.status == 200, response.read()
            yield from _events(response)
        finally:
            connection.close()


def _events(response: HTTPResponse) -> Iterator[Event]:
    kind, lines = "", list[str]()
    while line := response.readline().decode():
        name, _, value = line.rstrip("\n").partition(":")
        if name == "event":
            kind = value.removeprefix(" ")
        elif name == "data":
            lines.append(value.removeprefix(" "))
        elif not name and lines:
            yield Event(kind, "\n".join(lines))
            kind, lines = "", []
