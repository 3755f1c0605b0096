"""The origins whose pages may read the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from agents_store_cloudflare.contract.arguments import check_flag
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.objects.http_messages import HttpRequest

__all__ = ["CorsPolicy"]

ANY: Final = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class CorsPolicy:
    """The origins whose pages may read the answers in a browser.

    Attributes:
        allowed_origins: exact origins (`https://app.example`), or `("*",)` for all of them.
        allow_credentials: True lets pages send cookies. It cannot be used with `*`.
        allowed_headers: the request headers that pages may send besides those that browsers always allow.
        exposed_headers: the response headers that pages may read besides those that browsers always expose.
        max_age: the seconds for which a browser may keep the answer to a preflight.
    """

    allowed_origins: Sequence[str]
    allow_credentials: bool = False
    allowed_headers: Sequence[str] = ("authorization", "content-type", "last-event-id", "if-none-match")
    exposed_headers: Sequence[str] = ("etag", "location", "retry-after")
    max_age: int = 600

    def __post_init__(self) -> None:
        if isinstance(self.allowed_origins, str):
            raise TypeError("allowed_origins must be a list of origins, not text")
        for name in ("allowed_origins", "allowed_headers", "exposed_headers"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # the caller may change its lists later
        check_flag(self.allow_credentials, "allow_credentials")
        if ANY in self.allowed_origins and self.allow_credentials:
            raise InvalidArgumentError("credentials need the origins by name, not '*'")
        for origin in self.allowed_origins:
            if origin != ANY and not _is_origin(origin):
                raise InvalidArgumentError(f"{origin!r} is no origin; one is like https://app.example, without a path")

    def names(self, origin: str) -> bool:
        """Return whether `allowed_origins` has the name of this origin."""
        return origin in self.allowed_origins

    def admits(self, origin: str) -> bool:
        """Return whether pages of this origin may read the answers."""
        return ANY in self.allowed_origins or origin in self.allowed_origins

    def headers(self, request: HttpRequest) -> dict[str, str]:
        """Return the headers of every answer to this request."""
        vary = {} if ANY in self.allowed_origins else {"vary": "Origin"}
        origin = request.header("Origin")
        if origin is None or not self.admits(origin):
            return vary
        allowed = {"access-control-allow-origin": ANY if ANY in self.allowed_origins else origin, **vary}
        if self.exposed_headers:
            allowed["access-control-expose-headers"] = ", ".join(self.exposed_headers)
        if self.allow_credentials:
            allowed["access-control-allow-credentials"] = "true"
        return allowed

    def preflight_headers(self, request: HttpRequest, methods: str) -> dict[str, str]:
        """Return the headers that a preflight's answer has in addition to `headers`; none for an origin that may not read."""
        origin = request.header("Origin")
        if origin is None or not self.admits(origin):
            return {}
        return {
            "access-control-allow-methods": methods,
            "access-control-allow-headers": ", ".join(self.allowed_headers),
            "access-control-max-age": str(self.max_age),
        }


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme and parts.netloc) and text == f"{parts.scheme}://{parts.netloc}" and text == text.lower()
