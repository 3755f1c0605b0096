"""How another protocol over the same streams joins a gateway: below a path of its own, under the same rules."""

from __future__ import annotations

from typing import Literal, Protocol

from agents_store_cloudflare.gateway.admission import StreamAction
from agents_store_cloudflare.objects.http_messages import HttpRequest

__all__ = ["Admits", "GatewayFace"]


class Admits(Protocol):
    """Whether the request at hand may do something. Ask before any object is asked."""

    async def __call__(
        self,
        stream_id: str,
        action: StreamAction,
        *,
        source_id: str | None = None,
        position: int | Literal["end"] = 0,
    ) -> bool:
        """Only True admits.

        Args:
            source_id: the source of a fork, for which `read` is asked too.
            position: the sequence after which a read shows chunks, which a signed permission may limit. "end" stands for the
                end of the stream, wherever that is. A face that does not say it shows everything.
        """
        ...


class GatewayFace(Protocol):
    """A protocol that a gateway mounts beside its own requests.

    The gateway answers preflights, adds CORS headers, turns exceptions into JSON errors, and takes the body from answers to
    HEAD. The face does the rest, and refuses what `admits` denies.
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
