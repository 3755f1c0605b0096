"""The Durable Object class of locks. Name it in wrangler.toml and import it in the Worker's entry module."""

from __future__ import annotations

from functools import partial
from typing import Any, TypeAlias

from workers import DurableObject

from agents_store_cloudflare.cloudflare.namespace import answered
from agents_store_cloudflare.cloudflare.object_host import CloudflareHost
from agents_store_cloudflare.locks.lock_object import LockObject
from agents_store_cloudflare.metering.row_count import answer_at_once

JsObject: TypeAlias = Any  # what crosses from JavaScript has no Python type

__all__ = ["LockServer"]


class LockServer(DurableObject):
    """The Durable Object of one key's leases. RPC reaches only `call`. `LockObject` does the work."""

    def __init__(self, ctx: JsObject, env: JsObject) -> None:
        super().__init__(ctx, env)
        self._lock = LockObject(CloudflareHost(self.ctx))

    def call(self, request: object = None, *_more: object, **_named: object) -> object:
        """Answer one request text with one reply text. It returns no lines, because a lock's holder makes few calls."""
        return answered(request, partial(answer_at_once, self._lock), gives_lines=False)
