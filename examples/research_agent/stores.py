"""The stores of one request."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Self

from agents_store_cloudflare import (
    DurableObjectStreamManager,
    LockManager,
    Meter,
    StateStore,
    StreamOptions,
    UsageStore,
    create_cloudflare_store,
)

__all__ = ["Stores"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """One store for each role, what they do counted by `with stores.meter() as m`. Built per request, to which bindings belong."""

    states: StateStore
    streams: DurableObjectStreamManager
    usage: UsageStore
    locks: LockManager
    meter: Callable[[], AbstractContextManager[Meter]]

    @classmethod
    def of(cls, env: Any, wait_until: Callable[[Awaitable[None]], object]) -> Self:
        """Make the stores from a Worker's `env` and its `ctx.waitUntil`."""
        store = create_cloudflare_store(
            db=env.AGENT_DB,
            streams=env.STREAMS,
            locks=env.LOCKS,
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
            meter=store.meter,
        )
