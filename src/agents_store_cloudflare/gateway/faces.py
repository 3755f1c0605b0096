"""The interface of another protocol over the same streams. A gateway serves it below a path, with the same permissions."""

from __future__ import annotations

from typing import Literal, Protocol

from agents_store_cloudflare.gateway.admission import StreamAction
from agents_store_cloudflare.objects.http_messages import HttpRequest

__all__ = ["Admits", "GatewayFace"]


class Admits(Protocol):
    """A function that checks the permission of the request. Call it before any call to an object."""

    async def __call__(
        self,
        stream_id: str,
        action: StreamAction,
        *,
        source_id: str | None = None,
        position: int | Literal["end"] = 0,
    ) -> bool:
        """Return whether the request may do this. Only True admits.

        Args:
            source_id: the source of a fork, which needs the permission to `read` it too.
            position: the sequence after which a read shows chunks. A signed permission may limit it. "end" means the present end of
                the stream. None means a read of the whole stream.
        """
        ...


class GatewayFace(Protocol):
    """A protocol that a gateway serves beside its own routes.

    The gateway answers preflights, adds CORS headers, turns exceptions into JSON errors, and removes the body from answers to HEAD.
    The face answers all other requests, and refuses a request that `admits` denies.
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
        """Return an `HttpResponse` or the platform's own response. `original` is the request object that the caller gave to `handle`."""
        ...
