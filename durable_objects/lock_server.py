"""The Durable Object class of locks. Name it in wrangler.toml and import it in the Worker's entry module."""

from __future__ import annotations

from typing import Any, TypeAlias

from workers import DurableObject

from agents_store_cloudflare.bindings import CloudflareHost
from agents_store_cloudflare.locks.lock_object import LockObject
from agents_store_cloudflare.row_count import answer

JsObject: TypeAlias = Any  # what crosses from JavaScript has no Python type

__all__ = ["LockServer"]


class LockServer(DurableObject):
    """The leases of one key. RPC reaches `call` alone; the rest is `LockObject`'s."""

    def __init__(self, ctx: JsObject, env: JsObject) -> None:
        super().__init__(ctx, env)
        self._lock = LockObject(CloudflareHost(self.ctx))

    async def call(self, request: str) -> str:
        """Answer one request text with one reply text."""
        return await answer(self._lock, request)
