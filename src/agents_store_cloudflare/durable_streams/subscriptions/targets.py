"""The allowed targets of webhooks: https addresses of the public Internet. They are checked at subscription and at each delivery.

Only plain host names and plain addresses pass. Some URL parsers read other texts as addresses too (`0x7f.1`, `2130706433`, names in
other scripts). Such texts are refused, so that every parser reads the host that was checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit

from agents_store_cloudflare.durable_streams.refusals import Refusal

__all__ = ["check_addresses", "check_target", "host_to_resolve"]

MAX_URL_CHARS: Final = 2_048

_PLAIN_URL = re.compile(r"https?://[!#$%&'()*+,./0-9:;=?@A-Z\[\]_a-z~-]+", re.ASCII)
_NAME = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]", re.ASCII)
_PRIVATE_ZONES: Final = (
    ".localhost", ".local", ".internal", ".intranet", ".lan", ".home", ".corp", ".home.arpa", ".in-addr.arpa", ".ip6.arpa",
)  # fmt: skip
_PUBLIC_IPV6: Final = IPv6Network("2000::/3")
_CARRIERS_OF_IPV4: Final = (IPv6Network("2002::/16"), IPv6Network("2001::/32"))


def check_target(url: object, *, allow_loopback: bool) -> str:
    """Return the URL if webhooks may go there.

    Args:
        allow_loopback: for development: allow `http://localhost`, `http://127.0.0.x` and `http://[::1]` too.

    Raises:
        Refusal: 400 `WEBHOOK_URL_REJECTED`.
    """
    if not isinstance(url, str) or len(url) > MAX_URL_CHARS or _PLAIN_URL.fullmatch(url) is None:
        raise _rejected("it must be a plain https URL")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise _rejected("it must be a plain https URL") from None
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise _rejected("it must not hold a user or a password")
    if allow_loopback and _is_loopback(host):
        return url
    if parts.scheme != "https":
        raise _rejected("it must be https")
    address = _address(host)
    if address is not None:
        check_addresses([host])
    elif _NAME.fullmatch(host) is None or f".{host}".endswith(_PRIVATE_ZONES):
        raise _rejected("its host is no public name")
    return url


def host_to_resolve(url: str, *, allow_loopback: bool) -> str | None:
    """Return the host name whose addresses must be checked before a delivery; None if the URL holds an address."""
    host = urlsplit(url).hostname or ""
    return None if _address(host) is not None or (allow_loopback and _is_loopback(host)) else host


def check_addresses(addresses: Iterable[str]) -> None:
    """Check that all addresses are public.

    Raises:
        Refusal: 400 `WEBHOOK_URL_REJECTED`.
    """
    for text in addresses:
        address = _address(text)
        if address is None or not _is_public(address):
            raise _rejected("it leads to an address that is not public")


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast
    is_carrier = any(address in network for network in _CARRIERS_OF_IPV4)
    return address in _PUBLIC_IPV6 and address.is_global and not is_carrier


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _rejected(reason: str) -> Refusal:
    return Refusal(400, "WEBHOOK_URL_REJECTED", f"webhook.url is refused: {reason}")
