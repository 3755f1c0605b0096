"""The headers that make a PUT a fork."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_values import JsonObject
from agents_store_cloudflare.durable_streams.offsets import parse_offset
from agents_store_cloudflare.durable_streams.requests import whole_number
from agents_store_cloudflare.objects.http_messages import HttpRequest

__all__ = ["ForkRequest", "parse_fork"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkRequest:
    """The source of a fork, and the offset up to which it is copied. None means the end."""

    source_id: str
    offset: str | None
    sub_offset: int

    def arguments(self) -> JsonObject:
        """Return the arguments of the call to the fork's object."""
        return {"sourceId": self.source_id, "offset": self.offset, "subOffset": self.sub_offset}


def parse_fork(request: HttpRequest, stream_id_of: Callable[[str], str]) -> ForkRequest | None:
    """Return the fork that a PUT asks for, or None for a PUT without a fork.

    Raises:
        InvalidArgumentError: a header is malformed, or Stream-Forked-From is missing while other fork headers are there.
    """
    source, offset, sub_offset = (
        request.header(name) for name in ("Stream-Forked-From", "Stream-Fork-Offset", "Stream-Fork-Sub-Offset")
    )
    if source is None:
        if offset is not None or sub_offset is not None:
            raise InvalidArgumentError("Stream-Fork-Offset and Stream-Fork-Sub-Offset go with Stream-Forked-From")
        return None
    if offset is not None:
        parse_offset(offset, name="Stream-Fork-Offset")
    try:
        path = urlsplit(source).path
    except ValueError:
        raise InvalidArgumentError("Stream-Forked-From is not the path of a stream") from None
    return ForkRequest(
        source_id=stream_id_of(path),
        offset=offset,
        sub_offset=0 if sub_offset is None else whole_number(sub_offset, "Stream-Fork-Sub-Offset"),
    )
