"""LangGraph on D1: `D1Saver` keeps a graph's checkpoints, `D1Store` its long-term memory.

Needs the extra: `pip install agents-store-cloudflare[langgraph]`.
"""

from __future__ import annotations

from agents_store_cloudflare.adapters.langgraph.ormsgpack_place import fill_in_ormsgpack

# This stands before the first import of LangGraph's checkpoint package, which imports ormsgpack.
fill_in_ormsgpack()

from agents_store_cloudflare.adapters.langgraph.errors import (  # noqa: E402
    ForeignValueError,
    StaleHeadError,
    StaleItemError,
    WideSearchError,
)
from agents_store_cloudflare.adapters.langgraph.item_store import D1Store  # noqa: E402
from agents_store_cloudflare.adapters.langgraph.saver import D1Saver  # noqa: E402
from agents_store_cloudflare.adapters.langgraph.typed_json import TypedJsonSerializer  # noqa: E402

__all__ = [
    "D1Saver",
    "D1Store",
    "ForeignValueError",
    "StaleHeadError",
    "StaleItemError",
    "TypedJsonSerializer",
    "WideSearchError",
]
