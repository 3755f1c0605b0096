"""What a Durable Object has of its platform, and what it does with a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from agents_store_cloudflare.database import ObjectSql
from agents_store_cloudflare.objects.namespace import ObjectNamespace

__all__ = ["EventBody", "ObjectHost", "ObjectLogic", "ObjectSocket", "Outbound", "PullsFrames"]


class ObjectSocket(Protocol):
    """The server's end of a WebSocket that stays open while its object sleeps."""

    def send(self, text: str) -> bool:
        """Send one message; False where the socket is closed."""
        ...

    def attach(self, text: str) -> None:
        """Keep up to 16 KB with the socket, instead of what was kept before: it outlives the object's memory."""
        ...

    def attachment(self) -> str:
        """What was kept, "" for nothing."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Close it; a second time does nothing."""
        ...


class PullsFrames(Protocol):
    """Who fills a body."""

    def pull(self) -> None:
        """There is room: hand over some more."""
        ...

    def cancel(self) -> None:
        """The client is gone."""
        ...


class EventBody(Protocol):
    """A response body that text is pushed into."""

    @property
    def stream(self) -> object:
        """What the platform sends as the body."""
        ...

    def feed_from(self, source: PullsFrames) -> None:
        """Say who fills it; before the first turn ends."""
        ...

    def push(self, frames: str) -> bool:
        """Take the text; False where it is full or gone, and has taken nothing."""
        ...

    def has_read(self) -> bool:
        """Whether the client has read something since this was asked last, or has nothing to read."""
        ...

    def close(self) -> None:
        """End it after what it holds: nothing follows."""
        ...

    def break_off(self) -> None:
        """End it with an error, and drop what it holds."""
        ...


class Outbound(Protocol):
    """What an object sends into the world."""

    async def post(self, url: str, headers: Mapping[str, str], body: str, *, timeout_ms: int) -> tuple[int, str]:
        """Send a POST, following no redirect: the answer's status, and the first 64 KB of its body.

        Raises:
            OSError: no answer came in time.
        """
        ...

    async def resolve(self, name: str) -> Sequence[str]:
        """The addresses of a host, at least one.

        Raises:
            OSError: none could be found.
        """
        ...

    async def create_signing_key(self) -> str:
        """A new Ed25519 key, as a private JWK."""
        ...

    async def sign(self, private_jwk: str, data: bytes) -> bytes:
        """The Ed25519 signature."""
        ...


class ObjectHost(Protocol):
    """What the logic of a Durable Object may use of its platform."""

    @property
    def sql(self) -> ObjectSql:
        """The object's own database."""
        ...

    def now_ms(self) -> int:
        """The object's clock, in milliseconds since 1970."""
        ...

    def set_alarm(self, at_ms: int | None) -> None:
        """Have `alarm` called at `at_ms`, instead of any time set before; None takes it away. Each setting is a written row."""
        ...

    def call_later(self, delay_ms: int, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` once after `delay_ms`; the result cancels it. While it is pending the object cannot hibernate."""
        ...

    def siblings(self) -> ObjectNamespace:
        """The other objects of its own namespace."""
        ...

    def outbound(self) -> Outbound:
        """What it sends into the world."""
        ...

    def event_body(self) -> EventBody:
        """A new response body of about 256 KB of room. While it is open the object cannot hibernate."""
        ...

    def accept_socket(self) -> tuple[ObjectSocket, object]:
        """A new WebSocket that lets the object hibernate: its own end, and the client's for the response.

        A client's `ping` is answered with `pong` without waking the object.
        """
        ...

    def sockets(self) -> Sequence[ObjectSocket]:
        """The open ones, those accepted before the object slept among them."""
        ...


class ObjectLogic(Protocol):
    """What a Durable Object does with a call: pure Python, the same on every platform."""

    async def call(self, request: str) -> str:
        """Answer one request text (`wire.py`) with one reply text; errors are inside the reply."""
        ...

    async def alarm(self) -> None:
        """Do what is due."""
        ...
