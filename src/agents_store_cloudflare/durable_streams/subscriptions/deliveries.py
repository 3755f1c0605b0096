"""Webhooks: they are signed, go to public addresses only, and follow no redirects."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from agents_store_cloudflare.contract.json_values import JsonObject, parse_json
from agents_store_cloudflare.durable_streams.subscriptions.records import Link, Subscription
from agents_store_cloudflare.durable_streams.subscriptions.targets import (
    check_addresses,
    check_target,
    host_to_resolve,
)
from agents_store_cloudflare.durable_streams.subscriptions.wakes import Wakes
from agents_store_cloudflare.objects import Outbound

__all__ = ["SigningKey", "Webhooks", "is_done"]

TIMEOUT_MS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """An Ed25519 key as a JWK, and its name."""

    private_jwk: str
    kid: str
    x: str

    def public(self) -> JsonObject:
        """Return the public half as an entry of a JWK Set."""
        return {"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "use": "sig", "alg": "EdDSA", "x": self.x}


class Webhooks:
    """Sends wakes to the subscribers' servers, signed with the key of the index. The first wake makes the key."""

    def __init__(self, outbound: Callable[[], Outbound], wakes: Wakes, *, now_ms: Callable[[], int]) -> None:
        self._outbound = outbound
        self._wakes = wakes
        self._now_ms = now_ms

    async def key(self) -> SigningKey:
        """Return the key, which never changes."""
        stored = self._wakes.table.setting("signing_key")
        if stored is None:
            # If two requests make a key at once, the key that is stored first counts.
            stored = self._wakes.table.setting("signing_key", await self._outbound().create_signing_key()) or ""
        x: str = json.loads(stored)["x"]
        return SigningKey(private_jwk=stored, kid=f"ds_{x[:16]}", x=x)

    async def deliver(self, wake: Subscription, snapshot: list[Link]) -> str:
        """Send a wake. Return the answer's body.

        Raises:
            Refusal: the target is not a public address, or is no longer one.
            OSError: the wake could not be delivered.
        """
        allow_loopback = wake.state.allow_loopback
        url = check_target(wake.config.webhook_url, allow_loopback=allow_loopback)
        name = host_to_resolve(url, allow_loopback=allow_loopback)
        if name is not None:
            check_addresses(await self._outbound().resolve(name))
        key = await self.key()
        body = json.dumps(self._notice(wake, snapshot), separators=(",", ":"))
        at_s = self._now_ms() // 1000
        signature = await self._outbound().sign(key.private_jwk, f"{at_s}.{body}".encode())
        text = base64.urlsafe_b64encode(signature).decode().rstrip("=")
        headers = {"content-type": "application/json", "webhook-signature": f"t={at_s},kid={key.kid},ed25519={text}"}
        status, answer = await self._outbound().post(url, headers, body, timeout_ms=TIMEOUT_MS)
        if not 200 <= status < 300:
            raise OSError(f"the webhook answered {status}")
        return answer

    def _notice(self, wake: Subscription, snapshot: list[Link]) -> JsonObject:
        return {
            "subscription_id": wake.id,
            "wake_id": wake.state.wake_id,
            "generation": wake.state.generation,
            "streams": [link.to_wake_json() for link in snapshot],
            "callback_url": f"{wake.state.root_url}/__ds/subscriptions/{wake.id}/callback",
            "callback_token": self._wakes.token(wake),
        }


def is_done(answer: str) -> bool:
    """Return whether a webhook's answer says that the work is done."""
    try:
        value = parse_json(answer, name="the answer")
    except ValueError:
        return False
    return isinstance(value, dict) and cast("dict[str, object]", value).get("done") is True
