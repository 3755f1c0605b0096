"""pydantic-ai on D1: its conversations, its messages in turns of a session, its deferred tools as suspended turns.

Needs the extra: `pip install agents-store-cloudflare[pydantic-ai]`.
"""

from __future__ import annotations

from agents_store_cloudflare.adapters.errors import ForeignValueError
from agents_store_cloudflare.adapters.pydantic_ai.deferred import deferred_requests, suspend_for
from agents_store_cloudflare.adapters.pydantic_ai.messages import messages_from_state, messages_to_state
from agents_store_cloudflare.adapters.pydantic_ai.store import D1ConversationStore

__all__ = [
    "D1ConversationStore",
    "ForeignValueError",
    "deferred_requests",
    "messages_from_state",
    "messages_to_state",
    "suspend_for",
]
