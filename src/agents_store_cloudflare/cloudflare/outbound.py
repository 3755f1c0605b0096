"""The requests of a Durable Object to other servers: webhooks and their signatures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import js
from pyodide.ffi import JsException, to_js

JsObject: TypeAlias = Any  # what crosses from JavaScript has no Python type

__all__ = ["MAX_ANSWER_BYTES", "CloudflareOutbound", "answer_text"]

MAX_ANSWER_BYTES: Final = 64 * 1024
DNS_QUERY: Final = "https://cloudflare-dns.com/dns-query"
RESOLVE_MS: Final = 4_000
"""The most time that one request for a host's addresses may take."""

ADDRESS_TYPES: Final = {"A": 1, "AAAA": 28}


class CloudflareOutbound:
    """Requests to other servers by `fetch`, and signatures by Web Crypto."""

    async def post(self, url: str, headers: Mapping[str, str], body: str, *, timeout_ms: int) -> tuple[int, str]:
        """Send a POST without following redirects, and return the status and the first 64 KB of the answer.

        Raises:
            OSError: no answer came in time.
        """
        # A redirect could lead to an address that is forbidden for webhooks. So it is not followed, and counts as a failure.
        init = {"method": "POST", "headers": dict(headers), "body": body, "redirect": "manual"}
        try:
            response = await js.fetch(url, _object({**init, "signal": js.AbortSignal.timeout(timeout_ms)}))
            return int(response.status), await answer_text(response)
        except JsException as error:
            raise OSError(f"no answer from the webhook: {error}") from error

    async def resolve(self, name: str) -> list[str]:
        """Return the addresses of a host, at least one, by DNS over HTTPS.

        Raises:
            OSError: no address was found.
        """
        addresses: list[str] = []
        try:
            for kind, number in ADDRESS_TYPES.items():
                signal = js.AbortSignal.timeout(RESOLVE_MS)
                init = _object({"headers": {"accept": "application/dns-json"}, "signal": signal})
                response = await js.fetch(f"{DNS_QUERY}?name={name}&type={kind}", init)
                answers: list[dict[str, Any]] = json.loads(await answer_text(response)).get("Answer", [])
                addresses += [answer["data"] for answer in answers if answer.get("type") == number]
        except (JsException, ValueError, KeyError) as error:
            raise OSError(f"the webhook's host could not be resolved: {error}") from error
        if not addresses:
            raise OSError("the webhook's host has no address")
        return addresses

    async def create_signing_key(self) -> str:
        """Return a new Ed25519 key as a private JWK."""
        usages = to_js(["sign", "verify"])
        is_extractable = True
        pair = await js.crypto.subtle.generateKey("Ed25519", is_extractable, usages)
        return str(js.JSON.stringify(await js.crypto.subtle.exportKey("jwk", pair.privateKey)))

    async def sign(self, private_jwk: str, data: bytes) -> bytes:
        """Return the Ed25519 signature of the data."""
        jwk = js.JSON.parse(private_jwk)
        is_extractable = False
        key = await js.crypto.subtle.importKey("jwk", jwk, "Ed25519", is_extractable, to_js(["sign"]))
        signature: bytes = (await js.crypto.subtle.sign("Ed25519", key, to_js(data))).to_bytes()
        return signature


async def answer_text(response: JsObject) -> str:
    """Return the beginning of an answer's body. A long answer cannot fill the object's memory."""
    if not hasattr(response.body, "getReader"):
        return ""
    reader, pieces, size_bytes = response.body.getReader(), list[bytes](), 0
    while size_bytes < MAX_ANSWER_BYTES:
        piece = await reader.read()
        if piece.done:
            break
        pieces.append(piece.value.to_bytes())
        size_bytes += len(pieces[-1])
    else:
        await reader.cancel()
    return b"".join(pieces)[:MAX_ANSWER_BYTES].decode(errors="replace")


def _object(fields: Mapping[str, object]) -> JsObject:
    return to_js(fields, dict_converter=js.Object.fromEntries)
