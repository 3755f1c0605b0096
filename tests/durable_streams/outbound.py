"""What subscriptions send, recorded instead of sent."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any


class World:
    """An `Outbound` that records requests and gives the answers of the test."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.status = 200
        self.answer = "{}"
        self.addresses = ["93.184.216.34"]
        self.while_working: Callable[[], Awaitable[object]] | None = None

    async def post(self, url: str, headers: Mapping[str, str], body: str, *, timeout_ms: int) -> tuple[int, str]:
        assert (url, timeout_ms) == ("https://hooks.example/wake", 10_000)
        self.sent.append(json.loads(body))
        self.headers.append(headers)
        if self.while_working is not None:
            await self.while_working()
        return self.status, self.answer

    async def resolve(self, name: str) -> list[str]:
        assert name == "hooks.example"
        return self.addresses

    async def create_signing_key(self) -> str:
        return json.dumps({"kty": "OKP", "crv": "Ed25519", "d": "secret", "x": "x" * 43})

    async def sign(self, private_jwk: str, data: bytes) -> bytes:
        assert "secret" in private_jwk
        return data[:4]
