"""The platform of a Durable Object as protocols, and the protocol of its logic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from agents_store_cloudflare.database import ObjectSql
from agents_store_cloudflare.objects.namespace import ObjectNamespace

__all__ = ["EventBody", "ObjectHost", "ObjectLogic", "ObjectSocket", "Outbound", "PullsFrames"]


class ObjectSocket(Protocol):
    """The server's end of a WebSocket, which stays open while its object hibernates."""

    def send(self, text: str) -> bool:
        """Send one message. Return False if the socket is closed."""
        ...

    def attach(self, text: str) -> None:
        """Keep a text of up to 16 KB with the socket. It replaces an earlier text, and survives hibernation of the object."""
        ...

    def attachment(self) -> str:
        """Return the text that `attach` kept, or ""."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Close the socket. Closing it again does nothing."""
        ...


class PullsFrames(Protocol):
    """Fills a response body when there is room in it."""

    def pull(self) -> None:
        """Push more text, because the body has room."""
        ...

    def cancel(self) -> None:
        """Stop, because the client is gone."""
        ...


class EventBody(Protocol):
    """A response body into which text is pushed."""

    @property
    def stream(self) -> object:
        """The object that the platform sends as the body."""
        ...

    def feed_from(self, source: PullsFrames) -> None:
        """Set the source that fills the body. Call it before the first turn of the event loop ends."""
        ...

    def push(self, frames: str) -> bool:
        """Push a text that is not empty. Return False, and take nothing, if the body is full or its client is gone."""
        ...

    def has_read(self) -> bool:
        """Return whether the client has read a frame since the last call of this method, or has no frame to read."""
        ...

    def close(self, last: str = "") -> None:
        """End after its text and `last`, even if full."""
        ...

    def has_ended(self) -> bool:
        """Return whether the client has read everything of a closed body or is gone, or the body was broken off."""
        ...

    def break_off(self) -> None:
        """End the body with an error, and drop the text that it holds."""
        ...


class Outbound(Protocol):
    """Requests of an object to the internet, and the keys that sign them."""

    async def post(self, url: str, headers: Mapping[str, str], body: str, *, timeout_ms: int) -> tuple[int, str]:
        """Send a POST without following redirects.

        Returns:
            The status of the answer, and the first 64 KB of its body.

        Raises:
            OSError: no answer came in time.
        """
        ...

    async def resolve(self, name: str) -> Sequence[str]:
        """Return the addresses of a host, at least one.

        Raises:
            OSError: no address was found.
        """
        ...

    async def create_signing_key(self) -> str:
        """Return a new Ed25519 key as a private JWK."""
        ...

    async def sign(self, private_jwk: str, data: bytes) -> bytes:
        """Return the Ed25519 signature of a text."""
        ...


class ObjectHost(Protocol):
    """The parts of the platform that the logic of a Durable Object may use."""

    @property
    def sql(self) -> ObjectSql:
        """The object's own database."""
        ...

    def now_ms(self) -> int:
        """Return the time of the object's clock, in milliseconds since 1970."""
        ...

    def set_alarm(self, at_ms: int | None) -> None:
        """Set the time of the next `alarm`. It replaces an earlier time. Each call writes a row.

        Args:
            at_ms: milliseconds since 1970; None for no alarm.
        """
        ...

    def call_later(self, delay_ms: int, callback: Callable[[], None]) -> Callable[[], None]:
        """Call a function once after a delay. The object cannot hibernate meanwhile.

        Args:
            delay_ms: the delay in milliseconds.
            callback: the function.

        Returns:
            A function that cancels the call.
        """
        ...

    def siblings(self) -> ObjectNamespace:
        """Return the namespace of the object itself, for calls to its siblings."""
        ...

    def outbound(self) -> Outbound:
        """Requests to the internet."""
        ...

    def event_body(self) -> EventBody:
        """Return a new response body with room for about 256 KB. The object cannot hibernate while it is open."""
        ...

    def accept_socket(self) -> tuple[ObjectSocket, object]:
        """Make a WebSocket that lets the object hibernate. A client's `ping` is answered with `pong` without waking the object.

        Returns:
            The server's end, and the client's end for the response.
        """
        ...

    def sockets(self) -> Sequence[ObjectSocket]:
        """Return the open WebSockets, also those that were open before a hibernation."""
        ...


class ObjectLogic(Protocol):
    """The logic of a Durable Object: pure Python, the same on every platform."""

    async def call(self, request: str) -> str:
        """Answer one request text (`objects.rpc_text`) with one reply text. Errors are inside the reply."""
        ...

    async def alarm(self) -> None:
        """Do the work that is due now."""
        ...
