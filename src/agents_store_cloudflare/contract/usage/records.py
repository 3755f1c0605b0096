"""The records of usage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, cast

from agents_store_cloudflare.contract.json_values import JsonObject, JsonValue
from agents_store_cloudflare.contract.record import Record

__all__ = ["SubAgentStats", "TokenCounts", "ToolStats", "UsageEntry", "UsageRollup", "UsageSource", "UsageTotals"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSource(Record):
    """Who caused a usage entry, e.g. type "agent", name "researcher"."""

    type: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCounts(Record):
    """Tokens of one or many model calls.

    Cached ones are inside `prompt`, reasoning ones inside `completion`; `total` defaults to prompt + completion.
    """

    prompt: int = 0
    completion: int = 0
    reasoning: int = 0
    cached: int = 0
    total: int = cast("int", None)  # an int from `__post_init__` on

    def __post_init__(self) -> None:
        if cast("int | None", self.total) is None:
            object.__setattr__(self, "total", self.prompt + self.completion)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageEntry(Record):
    """One thing that was used: `kind` is "tokens", "tool", "subagent" or "custom", and says which of the later fields matter.

    `id` makes a repeated record harmless; the store makes one when it is empty, and the time when `timestamp` is None.

    Attributes:
        agent: whose totals it counts in; the source's name where that is an agent.
        model: the model that is billed. `request_model` and `response_model`: what was asked for, and what answered.
        cost_micros: what it cost in millionths of a dollar; None is unpriced, which is not zero. `price_version`: by which prices.
        corrects: the id of an entry that this one corrects. Its amounts are differences, so they alone may be negative; it counts as no
            call.
    """

    _NESTED: ClassVar[Mapping[str, type[Record]]] = {"source": UsageSource, "tokens": TokenCounts}

    id: str = ""
    session_id: str
    kind: Literal["tokens", "tool", "subagent", "custom"]
    step_count: int = 0
    timestamp: int | None = None
    source: UsageSource
    run_id: str | None = None
    agent: str | None = None
    model: str | None = None
    tokens: TokenCounts | None = None
    provider: str | None = None
    request_model: str | None = None
    response_model: str | None = None
    time_to_first_token_ms: int | None = None
    tool_name: str | None = None
    agent_type: str | None = None
    sub_session_id: str | None = None
    duration_ms: int | None = None
    success: bool | None = None
    error: str | None = None
    name: str | None = None
    value: int | float | None = None
    data: JsonValue = None
    cost_micros: int | None = None
    price_version: str | None = None
    corrects: str | None = None
    extra: JsonObject = field(default_factory=dict[str, JsonValue])


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStats(Record):
    """Tool calls of a session; `by_tool` counts them by tool name."""

    total_calls: int = 0
    successful: int = 0
    failed: int = 0
    total_duration_ms: int = 0
    by_tool: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True, kw_only=True)
class SubAgentStats(Record):
    """Sub-agent calls of a session; `by_agent` counts them by agent type."""

    total_calls: int = 0
    by_agent: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRollup(Record):
    """The totals of a session (or its tree). Zeros and empty mappings where nothing was recorded.

    Attributes:
        cost_micros: what the priced entries cost, in millionths of a dollar.
        unpriced_entries: how many token entries have no price; their cost is unknown, not zero.
        kept_entries: how many of `entry_count` were deleted since with `keep_totals`.
    """

    _NESTED: ClassVar[Mapping[str, type[Record]]] = {
        "tokens": TokenCounts,
        "tool_stats": ToolStats,
        "sub_agent_stats": SubAgentStats,
    }

    session_id: str
    tokens: TokenCounts = field(default_factory=TokenCounts)
    tokens_by_model: dict[str, TokenCounts] = field(default_factory=dict[str, TokenCounts])
    tool_stats: ToolStats = field(default_factory=ToolStats)
    sub_agent_stats: SubAgentStats = field(default_factory=SubAgentStats)
    custom: dict[str, JsonObject] = field(default_factory=dict[str, JsonObject])
    entry_count: int = 0
    first_timestamp: int | None = None
    last_timestamp: int | None = None
    cost_micros: int = 0
    unpriced_entries: int = 0
    kept_entries: int = 0

    @classmethod
    def _read(cls, name: str, value: Any) -> Any:
        if name == "tokens_by_model":
            return {model: cls._read("tokens", counts) for model, counts in value.items()}
        return super(UsageRollup, cls)._read(name, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageTotals(Record):
    """The totals of one day, model, agent or tool, over all sessions.

    Attributes:
        key: the day (UTC, as "2026-11-23"), or the name.
        calls, failed: model, tool and sub-agent calls and custom numbers; tool and sub-agent calls that did not succeed.
        cost_micros, unpriced_entries, kept_entries: as in `UsageRollup`.
    """

    _NESTED: ClassVar[Mapping[str, type[Record]]] = {"tokens": TokenCounts}

    key: str
    entry_count: int = 0
    calls: int = 0
    failed: int = 0
    tokens: TokenCounts = field(default_factory=TokenCounts)
    duration_ms: int = 0
    cost_micros: int = 0
    unpriced_entries: int = 0
    kept_entries: int = 0
