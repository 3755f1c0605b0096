"""The tokens of responses as usage entries."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic_ai.conversation_store import ConversationEntry
from pydantic_ai.messages import ModelResponse

from agents_store_cloudflare.contract.usage.records import TokenCounts, UsageEntry, UsageSource

__all__ = ["usage_of"]


def usage_of(conversation_id: str, entries: Sequence[ConversationEntry]) -> list[UsageEntry]:
    """Return one usage entry for each response among new entries. It gets its id from the response's entry, so it counts once."""
    return [
        UsageEntry(
            id=f"response-{entry.id}",
            session_id=conversation_id,
            kind="tokens",
            timestamp=int(message.timestamp.timestamp() * 1000),
            source=UsageSource(type="agent", name="pydantic-ai"),
            model=message.model_name or "unknown",
            provider=message.provider_name,
            tokens=TokenCounts(
                prompt=message.usage.input_tokens,
                completion=message.usage.output_tokens,
                reasoning=message.usage.details.get("reasoning_tokens", 0),
                cached=message.usage.cache_read_tokens,
            ),
        )
        for entry in entries
        if isinstance(message := entry.message, ModelResponse)
    ]
