"""What a turn used, by the model's own figures, as usage entries."""

from collections.abc import Sequence

from pydantic_ai.messages import ModelMessage, ModelResponse

from agents_store_cloudflare import AgentState, TokenCounts, UsageEntry, UsageSource
from narrator import ToolUse

__all__ = ["total", "usage_entries"]


def usage_entries(state: AgentState, messages: Sequence[ModelMessage], tools: Sequence[ToolUse]) -> list[UsageEntry]:
    """Return one entry for each request to the model and one for each tool call."""
    source = UsageSource(type="agent", name=state.agent_type)
    requests = [
        UsageEntry(
            session_id=state.session_id,
            kind="tokens",
            step_count=state.step_count,
            source=source,
            model=message.model_name,
            tokens=_tokens(message),
        )
        for message in messages
        if isinstance(message, ModelResponse)
    ]
    calls = [
        UsageEntry(
            session_id=state.session_id,
            kind="tool",
            step_count=state.step_count,
            source=source,
            tool_name=tool.tool_name,
            duration_ms=tool.duration_ms,
            success=tool.success,
        )
        for tool in tools
    ]
    return [*requests, *calls]


def total(entries: Sequence[UsageEntry]) -> TokenCounts:
    """Return the tokens of all entries together."""
    counts = [entry.tokens for entry in entries if entry.tokens is not None]
    return TokenCounts(
        prompt=sum(count.prompt for count in counts),
        completion=sum(count.completion for count in counts),
        reasoning=sum(count.reasoning for count in counts),
        cached=sum(count.cached for count in counts),
    )


def _tokens(message: ModelResponse) -> TokenCounts:
    used = message.usage
    return TokenCounts(
        prompt=used.input_tokens,
        completion=used.output_tokens,
        reasoning=used.details.get("reasoning_tokens", 0),
        cached=used.cache_read_tokens,
    )
