"""The usage of a turn, from the model's own figures."""

from collections.abc import Iterable, Sequence

from pydantic_ai.messages import ModelMessage, ModelResponse

from agents_store_cloudflare import TokenCounts, UsageEntry
from agents_store_cloudflare.turns import Turn

__all__ = ["record_tokens", "total"]


def record_tokens(turn: Turn, messages: Iterable[ModelMessage]) -> list[UsageEntry]:
    """Record the tokens of each request to the model, and return the entries."""
    return [
        turn.record_tokens(
            model=message.model_name or "unknown",
            prompt=message.usage.input_tokens,
            completion=message.usage.output_tokens,
            reasoning=message.usage.details.get("reasoning_tokens", 0),
            cached=message.usage.cache_read_tokens,
        )
        for message in messages
        if isinstance(message, ModelResponse)
    ]


def total(entries: Sequence[UsageEntry]) -> TokenCounts:
    """Return the tokens of all entries together."""
    counts = [entry.tokens for entry in entries if entry.tokens is not None]
    return TokenCounts(
        prompt=sum(count.prompt for count in counts),
        completion=sum(count.completion for count in counts),
        reasoning=sum(count.reasoning for count in counts),
        cached=sum(count.cached for count in counts),
    )
