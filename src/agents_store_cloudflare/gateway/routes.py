"""The paths below a gateway's prefix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, cast, get_args
from urllib.parse import quote, unquote, urlsplit

from agents_store_cloudflare.contract.arguments import check_id
from agents_store_cloudflare.contract.errors import InvalidArgumentError

__all__ = ["Route", "StreamWire", "check_prefix", "is_below", "path_of", "route_of"]

StreamWire: TypeAlias = Literal["events", "socket", "chunks", "info"]


@dataclass(frozen=True, slots=True)
class Route:
    """The stream of a request, and the wanted form of the answer."""

    stream_id: str
    wire: StreamWire


def check_prefix(prefix: object) -> str:
    """Return the prefix, a path such as `/streams`.

    Raises:
        TypeError: the prefix is not text.
        InvalidArgumentError: it does not begin with a slash, ends with one, or has a character that paths may not have.
    """
    if not isinstance(prefix, str):
        raise TypeError(f"prefix must be text, not {type(prefix).__name__}")
    if not prefix.startswith("/") or prefix.endswith("/") or quote(prefix, safe="/~%!$&'()*+,;=:@") != prefix:
        raise InvalidArgumentError("prefix must be a path like '/streams', without a slash at its end")
    return prefix


def is_below(url: str, prefix: str) -> bool:
    """Return whether the URL's path is the prefix or a path below it; False for a text that is no URL."""
    try:
        path = urlsplit(url).path
    except ValueError:
        return False
    return path == prefix or path.startswith(f"{prefix}/")


def route_of(url: str, prefix: str) -> Route | None:
    """Return the route of a URL below the prefix; None if there is nothing at this path.

    Raises:
        InvalidArgumentError: the stream id in the path is not UTF-8, or breaks the rules for ids.
    """
    match urlsplit(url).path[len(prefix) + 1 :].split("/"):
        case [stream_id] if stream_id:
            return Route(_stream_id(stream_id), "info")
        case [stream_id, wire] if wire != "info" and wire in get_args(StreamWire):
            return Route(_stream_id(stream_id), cast("StreamWire", wire))
        case _:
            return None


def path_of(prefix: str, route: Route) -> str:
    """Return the path of a route, percent-encoded."""
    path = f"{prefix}/{quote(route.stream_id, safe='')}"
    return path if route.wire == "info" else f"{path}/{route.wire}"


def _stream_id(segment: str) -> str:
    try:
        decoded = unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise InvalidArgumentError("the stream id in the path is not UTF-8") from None
    return check_id(decoded, "stream_id")
