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
    """The cause of a usage entry, such as an agent: type "agent", name "researcher"."""

    type: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCounts(Record):
    """The tokens of one or many model calls.

    Attributes:
        prompt: tokens of the prompt, the cached ones included.
        completion: tokens of the completion, the reasoning ones included.
        reasoning: the tokens of the completion that were reasoning.
        cached: tokens of the prompt that came from a cache.
        total: `prompt + completion` by default.
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
    """One use of a model, a tool or a sub-agent, or a number of your own.

    Attributes:
        id: an entry with this id is stored once, however often it is recorded. The store makes an id when it is empty.
        kind: says which of the later fields the entry has.
        timestamp: milliseconds since 1970. The store takes the present when it is None.
        agent: the agent whose totals count the entry. By default it is the name of the source when the source is an agent.
        model: the model that is billed.
        request_model: the model that was asked for.
        response_model: the model that answered.
        cost_micros: the cost in millionths of a dollar. None means that the cost is unknown, not that it is zero.
        price_version: the version of the prices that gave the cost.
        corrects: the id of an entry that this one corrects. The amounts of a correction are differences, so they may be negative. A
            correction counts as no call.
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
    """The tool calls of a session; `by_tool` counts them by tool name."""

    total_calls: int = 0
    successful: int = 0
    failed: int = 0
    total_duration_ms: int = 0
    by_tool: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True, kw_only=True)
class SubAgentStats(Record):
    """The sub-agent calls of a session; `by_agent` counts them by agent type."""

    total_calls: int = 0
    by_agent: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRollup(Record):
    """The totals of a session or of its tree: zeros and empty mappings when nothing was recorded.

    Attributes:
        cost_micros: the cost of the priced entries, in millionths of a dollar.
        unpriced_entries: how many token entries have no price. Their cost is unknown, not zero.
        kept_entries: how many of the counted entries were deleted since with `keep_totals`.
        unreadable_rows: how many rows of totals another program has damaged. The sums lack them; `rebuild_rollups` counts them anew.
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
    unreadable_rows: int = 0

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
        calls: how many model, tool and sub-agent calls and custom numbers there were.
        failed: how many of the tool and sub-agent calls did not succeed.
        cost_micros: as in `UsageRollup`.
        unpriced_entries: as in `UsageRollup`.
        kept_entries: as in `UsageRollup`.
        unreadable_rows: as in `UsageRollup`.
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
    unreadable_rows: int = 0
