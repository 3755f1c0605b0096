"""The headers and the query of a request, parsed and checked before any call to a stream."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final, Literal, Self, TypeAlias, cast
from urllib.parse import parse_qs, urlsplit

from agents_store_cloudflare.contract.arguments import MAX_SAFE_INTEGER
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.durable_streams.offsets import Offset, Position, parse_offset
from agents_store_cloudflare.objects.http_messages import HttpRequest
from agents_store_cloudflare.streams.protocol_state import instant_ms

__all__ = [
    "READ_HEADER",
    "Append",
    "Creation",
    "Live",
    "Producer",
    "Read",
    "parse_append",
    "parse_creation",
    "parse_read",
    "whole_number",
]

Live: TypeAlias = Literal["long-poll", "sse"]

MAX_HEADER_CHARS: Final = 1_024
MAX_TTL_S: Final = 10**11
LONG_POLL_MS: Final = 20_000

READ_HEADER: Final = "agents-read"
"""The header that carries a parsed `Read` from the Worker to the stream's object. Clients cannot reach the object themselves."""

_WHOLE = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)
_MEDIA_TYPE = re.compile(r"[!#$%&'*+.^_`|~\w-]+/[!#$%&'*+.^_`|~\w-]+\s*(;.*)?", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CURSOR = re.compile(r"[0-9]{1,15}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Producer:
    """The name of one request of an idempotent producer."""

    id: str
    epoch: int
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """The contents of a `PUT`. None means that the header is absent."""

    content_type: str | None = None
    ttl_s: int | None = None
    expires_at: str | None = None
    is_closed: bool = False
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """The contents of a `POST`."""

    content_type: str | None = None
    closes: bool = False
    seq: str | None = None
    producer: Producer | None = None
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """The contents of a `GET`. The Worker parses the request once; the object gets the result.

    Attributes:
        wait_ms: the milliseconds for which a long-poll waits for messages.
    """

    position: Position = "start"
    live: Live | None = None
    cursor: int | None = None
    if_none_match: str | None = None
    wait_ms: int = LONG_POLL_MS

    @property
    def from_sequence(self) -> int | Literal["end"]:
        """The lowest position whose messages the read shows, for the check of a permission with a floor."""
        if isinstance(self.position, Offset):
            return self.position.sequence
        return "end" if self.position == "now" else 0

    def to_header(self) -> str:
        """Return the text of `READ_HEADER`."""
        place = self.position
        position = [place.sequence, place.is_start] if isinstance(place, Offset) else place
        return json.dumps([position, self.live, self.cursor, self.if_none_match, self.wait_ms])

    @classmethod
    def from_header(cls, text: str) -> Self:
        """Return the read that `to_header` wrote as this text."""
        place, live, cursor, if_none_match, wait_ms = json.loads(text)
        position: Any = Offset(*cast("Any", place)) if isinstance(place, list) else place
        return cls(position=position, live=live, cursor=cursor, if_none_match=if_none_match, wait_ms=wait_ms)


def parse_creation(request: HttpRequest) -> Creation:
    """Return the contents of a PUT.

    Raises:
        InvalidArgumentError: a header is malformed, or two headers exclude each other.
    """
    ttl, expires_at = request.header("Stream-TTL"), request.header("Stream-Expires-At")
    if ttl is not None and expires_at is not None:
        raise InvalidArgumentError("Stream-TTL and Stream-Expires-At exclude each other")
    return Creation(
        content_type=_content_type(request),
        ttl_s=None if ttl is None else whole_number(ttl, "Stream-TTL", most=MAX_TTL_S),
        expires_at=None if expires_at is None else _checked_instant(expires_at),
        is_closed=_is_true(request, "Stream-Closed"),
        body=request.body,
    )


def parse_append(request: HttpRequest) -> Append:
    """Return the contents of a POST.

    Raises:
        InvalidArgumentError: a header is malformed or missing, or there is nothing to do.
    """
    append = Append(
        content_type=_content_type(request) if request.body else None,
        closes=_is_true(request, "Stream-Closed"),
        seq=_text_header(request, "Stream-Seq"),
        producer=_producer(request),
        body=request.body,
    )
    if not append.body and not append.closes:
        raise InvalidArgumentError("the body is empty; only a request with Stream-Closed: true may have none")
    if append.body and append.content_type is None:
        raise InvalidArgumentError("Content-Type is missing")
    return append


def parse_read(request: HttpRequest, *, wait_ms: int = LONG_POLL_MS) -> Read:
    """Return the contents of a GET.

    Args:
        wait_ms: the milliseconds for which a long-poll waits for messages.

    Raises:
        InvalidArgumentError: a query parameter is malformed, or given twice.
    """
    try:
        query = parse_qs(urlsplit(request.url).query, keep_blank_values=True, max_num_fields=100)
    except ValueError:
        raise InvalidArgumentError("the query is malformed") from None
    if any(len(query.get(name, ())) > 1 for name in ("offset", "live", "cursor")):
        raise InvalidArgumentError("offset, live and cursor may be given once")
    offset, live, cursor = (query.get(name, [None])[0] for name in ("offset", "live", "cursor"))
    mode: Live | None = "sse" if live == "sse" else "long-poll" if live == "long-poll" else None
    if live is not None and mode is None:
        raise InvalidArgumentError("live must be long-poll or sse")
    if mode is not None and offset is None:
        raise InvalidArgumentError("live reads need an offset")
    return Read(
        position="start" if offset is None else parse_offset(offset),
        live=mode,
        # A cursor of another server is ignored: a cursor is only a key for caches.
        cursor=int(cursor) if cursor and _CURSOR.fullmatch(cursor) else None,
        if_none_match=request.header("If-None-Match"),
        wait_ms=wait_ms,
    )


def whole_number(text: str, name: str, *, most: int = MAX_SAFE_INTEGER) -> int:
    """Parse a number without sign, point, exponent or leading zeros.

    Raises:
        InvalidArgumentError: the text is not such a number, or the number is too large.
    """
    if _WHOLE.fullmatch(text) is None or int(text) > most:
        raise InvalidArgumentError(f"{name} must be a whole number of 0 to {most}, without leading zeros")
    return int(text)


def _producer(request: HttpRequest) -> Producer | None:
    values = [request.header(f"Producer-{name}") for name in ("Id", "Epoch", "Seq")]
    if values == [None, None, None]:
        return None
    producer_id, epoch, seq = values
    if producer_id is None or epoch is None or seq is None:
        raise InvalidArgumentError("Producer-Id, Producer-Epoch and Producer-Seq go together")
    return Producer(
        id=_checked_text(producer_id, "Producer-Id"),
        epoch=whole_number(epoch, "Producer-Epoch"),
        seq=whole_number(seq, "Producer-Seq"),
    )


def _content_type(request: HttpRequest) -> str | None:
    given = _text_header(request, "Content-Type")
    if given is not None and _MEDIA_TYPE.fullmatch(given) is None:
        raise InvalidArgumentError("Content-Type is malformed")
    return given


def _text_header(request: HttpRequest, name: str) -> str | None:
    given = request.header(name)
    return None if given is None else _checked_text(given, name)


def _checked_text(text: str, name: str) -> str:
    if not text or len(text) > MAX_HEADER_CHARS or _CONTROL.search(text):
        raise InvalidArgumentError(f"{name} must have 1 to {MAX_HEADER_CHARS:,} characters, no control characters")
    return text


def _checked_instant(text: str) -> str:
    try:
        instant_ms(text)
    except (ValueError, OverflowError):
        raise InvalidArgumentError("Stream-Expires-At must be an RFC 3339 instant like 2030-01-01T00:00:00Z") from None
    return text


def _is_true(request: HttpRequest, name: str) -> bool:
    return (request.header(name) or "").lower() == "true"
