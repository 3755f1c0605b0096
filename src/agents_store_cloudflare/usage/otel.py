"""Usage entries under the names of OpenTelemetry's GenAI semantic conventions."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from agents_store_cloudflare.contract.usage.records import UsageEntry

__all__ = ["OTEL_ATTRIBUTES", "otel_attributes"]

# https://github.com/open-telemetry/semantic-conventions-genai/tree/main/docs (error.type: the core conventions)
OTEL_ATTRIBUTES: Mapping[str, str] = MappingProxyType(
    {
        "session_id": "gen_ai.conversation.id",
        "agent": "gen_ai.agent.name",
        "agent_type": "gen_ai.agent.name",
        "provider": "gen_ai.provider.name",
        "request_model": "gen_ai.request.model",
        "response_model": "gen_ai.response.model",
        "time_to_first_token_ms": "gen_ai.response.time_to_first_chunk",
        "tokens.prompt": "gen_ai.usage.input_tokens",
        "tokens.completion": "gen_ai.usage.output_tokens",
        "tokens.cached": "gen_ai.usage.cache_read.input_tokens",
        "tokens.reasoning": "gen_ai.usage.reasoning.output_tokens",
        "tool_name": "gen_ai.tool.name",
        "kind": "gen_ai.operation.name",
        "success": "error.type",
        "id": "agents_store.usage.id",
        "run_id": "agents_store.usage.run_id",
        "step_count": "agents_store.usage.step_count",
        "model": "agents_store.usage.model",
        "sub_session_id": "agents_store.usage.sub_session_id",
        "duration_ms": "agents_store.usage.duration_ms",
        "name": "agents_store.usage.name",
        "value": "agents_store.usage.value",
        "cost_micros": "agents_store.usage.cost_micros",
        "price_version": "agents_store.usage.price_version",
        "corrects": "agents_store.usage.corrects",
    }
)
"""Field of a `UsageEntry` -> attribute. Fields without a name in the conventions stand under `agents_store.usage`."""

OPERATIONS: Mapping[str, str] = MappingProxyType({"tokens": "chat", "tool": "execute_tool", "subagent": "invoke_agent"})

_IN_OTHER_WORDS = {"kind", "success", "time_to_first_token_ms", "request_model", "agent", "agent_type"}


def otel_attributes(entry: UsageEntry) -> dict[str, str | int | float]:
    """Return an entry as attributes of a span or an event, without content. A field that is None gives no attribute.

    The attribute of the time to the first token is in seconds. A call that failed has `error.type` "_OTHER".
    """
    attributes: dict[str, str | int | float] = {}
    for field, attribute in OTEL_ATTRIBUTES.items():
        if field not in _IN_OTHER_WORDS and (value := _field(entry, field)) is not None:
            attributes[attribute] = value
    if (operation := OPERATIONS.get(entry.kind)) is not None:
        attributes[OTEL_ATTRIBUTES["kind"]] = operation
    if (model := entry.request_model or entry.model) is not None:
        attributes[OTEL_ATTRIBUTES["request_model"]] = model
    source = entry.source.name if entry.source.type == "agent" else None
    if (agent := entry.agent_type or entry.agent or source) is not None:
        attributes[OTEL_ATTRIBUTES["agent"]] = agent
    if entry.time_to_first_token_ms is not None:
        attributes[OTEL_ATTRIBUTES["time_to_first_token_ms"]] = entry.time_to_first_token_ms / 1000
    if entry.success is False:
        attributes[OTEL_ATTRIBUTES["success"]] = "_OTHER"
    return attributes


def _field(entry: UsageEntry, path: str) -> str | int | float | None:
    owner, _, name = path.rpartition(".")
    record: object = getattr(entry, owner) if owner else entry
    value: str | int | float | None = None if record is None else getattr(record, name)
    return value or None if name == "id" else value
