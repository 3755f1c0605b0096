"""The OpenAI Agents SDK on D1: `D1Session` keeps the items of a conversation.

Needs the extra: `pip install agents-store-cloudflare[openai-agents]`.
"""

from __future__ import annotations

from agents_store_cloudflare.adapters.openai_agents.errors import OrphanToolOutputError
from agents_store_cloudflare.adapters.openai_agents.session import D1Session
from agents_store_cloudflare.adapters.openai_agents.usage import usage_entries

__all__ = ["D1Session", "OrphanToolOutputError", "usage_entries"]
