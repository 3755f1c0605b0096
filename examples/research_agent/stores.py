"""The stores of one request, and what they cost it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self

from agents_store_cloudflare import (
    DurableObjectStreamManager,
    LockManager,
    StateStore,
    StreamOptions,
    UsageStore,
    create_cloudflare_store,
)
from meter import Meter

__all__ = ["Stores"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """One store for each role, their calls counted by `meter`. Built per request, to which bindings belong."""

    states: StateStore
    streams: DurableObjectStreamManager
    usage: UsageStore
    locks: LockManager
    meter: Meter

    @classmethod
    def of(cls, env: Any, wait_until: Callable[[Awaitable[None]], object]) -> Self:
        """Make the stores from a Worker's `env` and its `ctx.waitUntil`."""
        meter = Meter()
        store = create_cloudflare_store(
            db=meter.database(env.AGENT_DB),
            streams=meter.namespace(env.STREAMS, "streamCalls"),
            locks=meter.namespace(env.LOCKS, "lockCalls"),
            # With it a timer stores what the model said last, also while it thinks about what comes next.
            stream_options=StreamOptions(wait_until=wait_until),
        )
        if store.lock_manager is None:
            raise RuntimeError("the store was made without locks")
        return cls(
            states=store.state_store,
            streams=store.stream_manager,
            usage=store.usage_store,
            locks=store.lock_manager,
            meter=meter,
        )
