"""The interface of another protocol over the same streams: a gateway serves it below its own path, under the same rules."""

from __future__ import annotations

from typing import Literal, Protocol

from agents_store_cloudflare.gateway.admission import StreamAction
from agents_store_cloudflare.objects.http_messages import HttpRequest

__all__ = ["Admits", "GatewayFace"]


class Admits(Protocol):
    """Tells whether the request may do something. Call it before any call to an object."""

    async def __call__(
        self,
        stream_id: str,
        action: StreamAction,
        *,
        source_id: str | None = None,
        position: int | Literal["end"] = 0,
    ) -> bool:
        """Return whether the request may do this; only True admits.

        Args:
            source_id: the source of a fork, which needs the permission to `read` it too.
            position: the sequence after which a read shows chunks. A signed permission may limit it. "end" stands for the end of
                the stream, wherever it is. Without a position the read counts as one of the whole stream.
        """
        ...


class GatewayFace(Protocol):
    """A protocol that a gateway serves beside its own routes.

    The gateway answers preflights, adds CORS headers, turns exceptions into JSON errors, and removes the body from answers to
    HEAD. The face does the rest, and refuses a request that `admits` denies.
    """

    @property
    def prefix(self) -> str:
        """The path below which it answers, such as `/v1/stream`."""
        ...

    @property
    def methods(self) -> str:
        """The methods that preflights allow, such as `GET, HEAD, POST, PUT, DELETE, OPTIONS`."""
        ...

    async def answer(self, request: HttpRequest, original: object, admits: Admits) -> object:
        """Return an `HttpResponse` or the platform's own response. `original` is the request that `handle` was given."""
        ...
