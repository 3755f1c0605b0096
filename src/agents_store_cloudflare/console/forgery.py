"""Tokens against forged requests: only a form that this console has shown to this browser can start an act.

A random cookie is the key of an HMAC over the act and all fixed values of the form. No page of another site can read or send the
cookie (`HttpOnly`, `SameSite=Strict`). So a token is valid for one browser, one act, one session and one hour, and the server
stores nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from agents_store_cloudflare.objects.http_messages import HttpRequest

__all__ = ["Guarded", "is_genuine", "is_own_origin", "new_guard"]

LIFETIME_MS: Final = 3_600_000
_SECRET: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_EXPIRES: Final = re.compile(r"[0-9]{1,15}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """The guard of a form: its token, the time at which the token expires, and the cookie to set."""

    token: str
    expires: str
    set_cookie: str


def new_guard(request: HttpRequest, prefix: str, act: str, fixed: Mapping[str, str], now_ms: int) -> Guarded:
    """Return the guard of a new form."""
    name, attributes = _cookie(request, prefix)
    secret = _secret_of(request, name) or secrets.token_hex(32)
    expires = str(now_ms + LIFETIME_MS)
    return Guarded(
        token=_token(secret, act, fixed, expires), expires=expires, set_cookie=f"{name}={secret}; {attributes}"
    )


def is_genuine(  # noqa: PLR0917
    request: HttpRequest, prefix: str, act: str, fixed: Mapping[str, str], token: str, expires: str, now_ms: int
) -> bool:
    """Return whether this console has shown the form to this browser, and its fixed values are unchanged."""
    secret = _secret_of(request, _cookie(request, prefix)[0])
    if secret is None or _EXPIRES.fullmatch(expires) is None or not now_ms < int(expires) <= now_ms + LIFETIME_MS:
        return False
    return hmac.compare_digest(_token(secret, act, fixed, expires).encode(), token.encode(errors="replace"))


def is_own_origin(request: HttpRequest) -> bool:
    """Return whether the request comes from a page of this origin, or from no browser."""
    origin = request.header("Origin")
    if origin is None:
        return request.header("Sec-Fetch-Site") not in ("cross-site", "same-site")
    url = urlsplit(request.url)
    return origin == f"{url.scheme}://{url.netloc}"


def _token(secret: str, act: str, fixed: Mapping[str, str], expires: str) -> str:
    said = json.dumps([act, sorted(fixed.items()), expires])
    return hmac.new(bytes.fromhex(secret), said.encode(), hashlib.sha256).hexdigest()


def _cookie(request: HttpRequest, prefix: str) -> tuple[str, str]:
    """Return the name of the cookie and its attributes. The prefix of its name keeps other hosts from setting it."""
    if urlsplit(request.url).scheme == "https":
        return "__Host-agents-console", "Path=/; Secure; HttpOnly; SameSite=Strict"
    return "agents-console", f"Path={prefix}; HttpOnly; SameSite=Strict"


def _secret_of(request: HttpRequest, name: str) -> str | None:
    for part in (request.header("Cookie") or "").split(";"):
        key, _, value = part.strip().partition("=")
        if key == name and _SECRET.fullmatch(value) is not None:
            return value
    return None
