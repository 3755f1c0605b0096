"""The store of one request."""

from collections.abc import Awaitable, Callable
from typing import Any

from agents_store_cloudflare import CloudflareStore, StreamOptions, create_cloudflare_store

__all__ = ["store_of"]


def store_of(env: Any, wait_until: Callable[[Awaitable[None]], object]) -> CloudflareStore:
    """Return the store of a Worker's `env` and its `ctx.waitUntil`. It belongs to one request, as bindings do."""
    return create_cloudflare_store(
        db=env.AGENT_DB,
        streams=env.STREAMS,
        locks=env.LOCKS,
        # With it a timer stores the last words of the model, also during the model's pauses.
        stream_options=StreamOptions(wait_until=wait_until),
    )
