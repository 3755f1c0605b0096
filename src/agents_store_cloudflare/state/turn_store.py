"""`D1TurnStore`: a state store whose sessions have turns."""

from __future__ import annotations

from agents_store_cloudflare.state.store import D1StateStore
from agents_store_cloudflare.state.turns import TurnCalls

__all__ = ["D1TurnStore"]


class D1TurnStore(TurnCalls, D1StateStore):
    """`D1StateStore` with the batches of `store.turn`. The state store of a `CloudflareStore` is one."""
