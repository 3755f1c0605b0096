"""A2A on D1: `D1TaskStore` keeps the tasks of an agent's server.

Needs the extra: `pip install agents-store-cloudflare[a2a]`.
"""

from __future__ import annotations

from agents_store_cloudflare.adapters.a2a.plain import PlainTasks
from agents_store_cloudflare.adapters.a2a.store import D1TaskStore
from agents_store_cloudflare.adapters.errors import ForeignValueError

__all__ = ["D1TaskStore", "ForeignValueError", "PlainTasks"]
