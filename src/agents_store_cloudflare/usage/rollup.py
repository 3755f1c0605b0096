"""The totals of entries, exact: sums of integers in Python, of any size."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from math import fsum
from typing import Any, cast

from agents_store_cloudflare.database import Row
from agents_store_cloudflare.json_values import JsonObject, decode_json
from agents_store_cloudflare.records import SubAgentStats, TokenCounts, ToolStats, UsageRollup

__all__ = ["rollup_of"]

_COUNTS = ("prompt", "completion", "reasoning", "cached", "total")


def rollup_of(session_id: str, rows: Iterable[Row]) -> UsageRollup:
    """The rollup of rows (kind, timestamp, data) in order of time."""
    bodies: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    timestamps: list[int] = []
    for kind, timestamp, data in rows:
        timestamps.append(cast("int", timestamp))
        bodies[cast("str", kind)].append(cast("Mapping[str, Any]", decode_json(cast("str", data))))
    by_model: defaultdict[str, list[Mapping[str, int]]] = defaultdict(list)
    for body in bodies["tokens"]:
        by_model[body["model"]].append(body["tokens"])
    return UsageRollup(
        session_id=session_id,
        tokens=_tokens(body["tokens"] for body in bodies["tokens"]),
        tokens_by_model={model: _tokens(counts) for model, counts in by_model.items()},
        tool_stats=_tools(bodies["tool"]),
        sub_agent_stats=SubAgentStats(
            total_calls=len(bodies["subagent"]),
            by_agent=dict(Counter(body["agentType"] for body in bodies["subagent"])),
        ),
        custom=_custom(bodies["custom"]),
        entry_count=len(timestamps),
        first_timestamp=timestamps[0] if timestamps else None,
        last_timestamp=timestamps[-1] if timestamps else None,
    )


def _tokens(counts: Iterable[Mapping[str, int]]) -> TokenCounts:
    sums = Counter[str]()
    for each in counts:
        sums.update({name: each[name] for name in _COUNTS})
    return TokenCounts(**{name: sums[name] for name in _COUNTS})


def _tools(bodies: list[Mapping[str, Any]]) -> ToolStats:
    successful = sum(body["success"] for body in bodies)
    return ToolStats(
        total_calls=len(bodies),
        successful=successful,
        failed=len(bodies) - successful,
        total_duration_ms=sum(body["durationMs"] for body in bodies),
        by_tool=dict(Counter(body["toolName"] for body in bodies)),
    )


def _custom(bodies: list[Mapping[str, Any]]) -> dict[str, JsonObject]:
    values: defaultdict[str, list[int | float]] = defaultdict(list)
    for body in bodies:
        values[body["name"]].append(body["value"])
    return {name: {"count": len(each), "total": _sum(each)} for name, each in values.items()}


def _sum(values: list[int | float]) -> int | float:
    whole = sum(value for value in values if isinstance(value, int))
    broken = [value for value in values if isinstance(value, float)]
    return whole + fsum(broken) if broken else whole
