"""The request for a page, and the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from agents_store_cloudflare.console.html import Markup
from agents_store_cloudflare.console.sources import Sources
from agents_store_cloudflare.contract.arguments import MAX_SAFE_INTEGER, check_id
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_values import JsonValue
from agents_store_cloudflare.objects.http_messages import HttpRequest

__all__ = ["Asked", "Shown", "asked_of", "link", "page_of"]

MAX_QUERY_BYTES: Final = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request to the console.

    Attributes:
        page: the name of the page: its path below the prefix, or below `api/`.
        is_api: True when the request asks for JSON.
        query: the first value of each parameter; an empty value counts as none.
        can_act: True when acts are offered. `authorize` is called again for each act.
    """

    sources: Sources
    prefix: str
    page: str
    is_api: bool
    query: Mapping[str, str]
    request: HttpRequest
    now_ms: int
    can_act: bool = True

    def session_id(self, name: str = "id") -> str:
        """Return the session id of the page.

        Raises:
            InvalidArgumentError: the parameter is missing or no valid id.
        """
        return check_id(self.needed(name), name)

    def needed(self, name: str) -> str:
        """Return a required parameter.

        Raises:
            InvalidArgumentError: the parameter is missing.
        """
        value = self.query.get(name)
        if value is None:
            raise InvalidArgumentError(f"the parameter {name!r} is missing")
        return value

    def number(self, name: str) -> int | None:
        """Return a parameter as a whole number, or None if it is absent.

        Raises:
            InvalidArgumentError: the parameter is no whole number.
        """
        text = self.query.get(name)
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) <= 16 and int(text) <= MAX_SAFE_INTEGER):
            raise InvalidArgumentError(f"the parameter {name!r} must be a whole number")
        return int(text)

    def link(self, page: str, /, **parameters: str | int | None) -> str:
        """Return the URL of a page."""
        return link(self.prefix, page, **parameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A page: its content as JSON and as HTML.

    Attributes:
        body: makes the HTML. It is not called for an API request.
    """

    title: str
    data: JsonValue
    body: Callable[[], Markup]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def link(prefix: str, page: str, /, **parameters: str | int | None) -> str:
    """Return the URL of a page below the prefix. A session's id is a parameter, because a path would lose `..` and `/`."""
    given = {name.rstrip("_"): value for name, value in parameters.items() if value is not None}
    path = f"{prefix}/{page}" if page else prefix
    return f"{path}?{urlencode(given)}" if given else path


def page_of(url: str, prefix: str) -> tuple[str, bool]:
    """Return the name of the page of a URL below the prefix, and whether the URL asks for JSON."""
    page = urlsplit(url).path[len(prefix) :].strip("/")
    is_api = page == "api" or page.startswith("api/")
    return (page[4:] if is_api else page), is_api


def asked_of(request: HttpRequest, prefix: str, sources: Sources, *, can_act: bool = True) -> Asked:
    """Return the parsed request for a page below the prefix.

    Raises:
        InvalidArgumentError: the query of its URL is too long.
    """
    parts = urlsplit(request.url)
    if len(parts.query) > MAX_QUERY_BYTES:
        raise InvalidArgumentError(f"the query has more than {MAX_QUERY_BYTES:,} bytes")
    page, is_api = page_of(request.url, prefix)
    query: dict[str, str] = {}
    for name, value in parse_qsl(parts.query):
        query.setdefault(name, value)
    return Asked(
        sources=sources,
        prefix=prefix,
        page=page,
        is_api=is_api,
        query=query,
        request=request,
        now_ms=sources.now_ms(),
        can_act=can_act,
    )
