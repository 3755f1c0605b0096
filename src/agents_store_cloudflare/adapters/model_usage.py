"""The tokens of pydantic-ai's responses as usage entries."""

from __future__ import annotations

from pydantic_ai.messages import ModelResponse

from agents_store_cloudflare.contract.usage.records import TokenCounts, UsageEntry, UsageSource

__all__ = ["usage_of_response"]


def usage_of_response(session_id: str, entry_id: str, response: ModelResponse) -> UsageEntry:
    """Return the usage entry of a response. The same `entry_id` counts once."""
    return UsageEntry(
        id=entry_id,
        session_id=session_id,
        kind="tokens",
        timestamp=int(response.timestamp.timestamp() * 1000),
        source=UsageSource(type="agent", name="pydantic-ai"),
        model=response.model_name or "unknown",
        provider=response.provider_name,
        tokens=TokenCounts(
            prompt=response.usage.input_tokens,
            completion=response.usage.output_tokens,
            reasoning=response.usage.details.get("reasoning_tokens", 0),
            cached=response.usage.cache_read_tokens,
        ),
    )
