"""The state role: sessions, messages, checkpoints in D1."""

from agents_store_cloudflare.state.options import StateStoreOptions, StoreLimits
from agents_store_cloudflare.state.store import D1StateStore

__all__ = ["D1StateStore", "StateStoreOptions", "StoreLimits"]
