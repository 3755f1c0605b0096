"""The state role: sessions, messages, checkpoints in D1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents_store_cloudflare.contract.lazy_names import lazy_names

if TYPE_CHECKING:
    from agents_store_cloudflare.state.options import StateStoreOptions, StoreLimits
    from agents_store_cloudflare.state.store import D1StateStore
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "options": ("StateStoreOptions", "StoreLimits"),
            "store": ("D1StateStore",),
        },
    )

__all__ = ["D1StateStore", "StateStoreOptions", "StoreLimits"]
