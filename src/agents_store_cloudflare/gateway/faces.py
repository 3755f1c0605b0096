"""Where another protocol over the same streams joins a gateway: below a path of its own, under the same rules."""

from __future__ import annotations

from typing import Protocol

from agents_store_cloudflare.gateway.admission import StreamAction
from agents_store_cloudflare.objects.http_messages import HttpRequest

__all__ = ["Admits", "GatewayFace"]


class Admits(Protocol):
    """Whether the request at hand may do something; ask before any object is asked."""

    async def __call__(self, stream_id: str, action: StreamAction, *, source_id: str | None = None) -> bool:
        """Only True admits; a fork names its source, of which `read` is asked for too."""
        ...


class GatewayFace(Protocol):
    """A protocol that a gateway mounts beside its own wires.

    The gateway answers preflights, adds CORS headers, turns what is raised into a JSON error, and takes the body from
    answers to HEAD; all else, refusals of what `admits` denies included, is the face's.
    """

    @property
    def prefix(self) -> str:
        """The path it answers below, as a gateway's own."""
        ...

    @property
    def methods(self) -> str:
        """What preflights allow: `GET, HEAD, POST, PUT, DELETE, OPTIONS`."""
        ...

    async def answer(self, request: HttpRequest, original: object, admits: Admits) -> object:
        """An `HttpResponse`, or the platform's own response; `original` is the request as `handle` was given it."""
        ...
