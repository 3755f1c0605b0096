"""pydantic-ai on D1: `D1ConversationStore` keeps its conversations.

Needs the extra: `pip install agents-store-cloudflare[pydantic-ai]`.
"""

from __future__ import annotations

from agents_store_cloudflare.adapters.errors import ForeignValueError
from agents_store_cloudflare.adapters.pydantic_ai.store import D1ConversationStore

__all__ = ["D1ConversationStore", "ForeignValueError"]
