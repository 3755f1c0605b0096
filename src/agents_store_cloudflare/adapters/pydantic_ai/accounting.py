"""The tokens of responses as usage entries."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic_ai.conversation_store import ConversationEntry
from pydantic_ai.messages import ModelResponse

from agents_store_cloudflare.adapters.model_usage import usage_of_response
from agents_store_cloudflare.contract.usage.records import UsageEntry

__all__ = ["usage_of"]


def usage_of(conversation_id: str, entries: Sequence[ConversationEntry]) -> list[UsageEntry]:
    """Return one usage entry for each response among new entries. It gets its id from the response's entry, so it counts once."""
    return [
        usage_of_response(conversation_id, f"response-{entry.id}", message)
        for entry in entries
        if isinstance(message := entry.message, ModelResponse)
    ]
