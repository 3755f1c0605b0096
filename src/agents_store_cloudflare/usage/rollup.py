"""Makes the records of totals from the rows of the tables that keep them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any, cast

from agents_store_cloudflare.contract.json_values import JsonObject, parse_json
from agents_store_cloudflare.contract.usage.records import (
    SubAgentStats,
    ToolStats,
    UsageEntry,
    UsageRollup,
    UsageTotals,
)
from agents_store_cloudflare.database import Row
from agents_store_cloudflare.usage.amounts import Amounts, amounts_of, count, custom_total, name_of, token_counts

__all__ = ["UNREADABLE", "day_text", "rollup_of", "rollup_of_entries", "rollups_of", "stored_amounts", "totals_of"]

EPOCH = date(1970, 1, 1)

UNREADABLE = "unreadable"
"""The name of the counter of rows that cannot be read, from `amounts_sql.UNREADABLE`."""


def day_text(day: int) -> str:
    """Return the date of a day that is counted from 1970-01-01.

    A day outside the calendar gives a text such as `day 12345678`. Only another program can write such a day into the table.
    """
    try:
        return (EPOCH + timedelta(days=day)).isoformat()
    except OverflowError:
        return f"day {day}"


def rollup_of(session_id: str, rows: Iterable[Row]) -> UsageRollup:
    """Return the rollup of rows (session id, kind, name, first and last timestamp, amounts) of any sessions."""
    totals: defaultdict[tuple[str, str], Amounts] = defaultdict(dict[str, int])
    everything: Amounts = {}
    firsts: list[int] = []
    lasts: list[int] = []
    for _, kind, name, first, last, text in rows:
        amounts = stored_amounts(text)
        _add(totals[cast("str", kind), cast("str", name)], amounts)
        _add(everything, amounts)
        firsts += [first] if isinstance(first, int) else []
        lasts += [last] if isinstance(last, int) else []
    by_kind: defaultdict[str, dict[str, Amounts]] = defaultdict(dict[str, Amounts])
    for (kind, name), amounts in totals.items():
        by_kind[kind][name] = amounts
    return UsageRollup(
        session_id=session_id,
        tokens=token_counts(everything),
        tokens_by_model={model: token_counts(each) for model, each in by_kind["tokens"].items()},
        tool_stats=_tools(by_kind["tool"]),
        sub_agent_stats=_agents(by_kind["subagent"]),
        custom={name: _custom(each) for name, each in by_kind["custom"].items()},
        entry_count=everything.get("entries", 0),
        first_timestamp=min(firsts, default=None),
        last_timestamp=max(lasts, default=None),
        cost_micros=count(everything, "costMicros"),
        unpriced_entries=everything.get("unpriced", 0),
        kept_entries=everything.get("kept", 0),
        unreadable_rows=everything.get(UNREADABLE, 0),
    )


def rollup_of_entries(session_id: str, entries: Iterable[UsageEntry]) -> UsageRollup:
    """Return the rollup of stored entries."""
    return rollup_of(
        session_id,
        [
            [session_id, each.kind, name_of(each), each.timestamp, each.timestamp, json.dumps(amounts_of(each))]
            for each in entries
        ],
    )


def rollups_of(session_id: str, rows: Iterable[Row]) -> list[UsageRollup]:
    """Return a rollup for each session of the rows. The first rollup belongs to `session_id`, also when it has no rows."""
    of_session: dict[str, list[Row]] = {session_id: []}
    for row in rows:
        of_session.setdefault(cast("str", row[0]), []).append(row)
    return [rollup_of(each, own) for each, own in of_session.items()]


def totals_of(row: Row, *, by_day: bool) -> UsageTotals:
    """Return the totals of a row (key, amounts). A key that is no text, which only another program can write, becomes one."""
    key, text = cast("tuple[Any, str]", tuple(row))
    amounts = stored_amounts(text)
    return UsageTotals(
        key=day_text(key) if by_day else str(key),
        entry_count=amounts.get("entries", 0),
        calls=amounts.get("calls", 0),
        failed=amounts.get("failed", 0),
        tokens=token_counts(amounts),
        duration_ms=count(amounts, "durationMs"),
        cost_micros=count(amounts, "costMicros"),
        unpriced_entries=amounts.get("unpriced", 0),
        kept_entries=amounts.get("kept", 0),
        unreadable_rows=amounts.get(UNREADABLE, 0),
    )


def stored_amounts(text: object) -> Amounts:
    """Return the amounts of a row. A damaged row counts as one unreadable row."""
    try:
        amounts: Any = parse_json(cast("str", text), name="the amounts")
        counters = {name: number for name, number in amounts.items() if type(number) is int}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {UNREADABLE: 1}
    return counters if len(counters) == len(amounts) else {**counters, UNREADABLE: 1}


def _add(total: Amounts, amounts: Mapping[str, int]) -> None:
    for name, number in amounts.items():
        total[name] = total.get(name, 0) + number


def _tools(by_tool: Mapping[str, Amounts]) -> ToolStats:
    calls = sum(each.get("calls", 0) for each in by_tool.values())
    failed = sum(each.get("failed", 0) for each in by_tool.values())
    return ToolStats(
        total_calls=calls,
        successful=calls - failed,
        failed=failed,
        total_duration_ms=sum(count(each, "durationMs") for each in by_tool.values()),
        by_tool={tool: each.get("calls", 0) for tool, each in by_tool.items()},
    )


def _agents(by_agent: Mapping[str, Amounts]) -> SubAgentStats:
    by_type = {agent_type: each.get("calls", 0) for agent_type, each in by_agent.items()}
    return SubAgentStats(total_calls=sum(by_type.values()), by_agent=by_type)


def _custom(amounts: Amounts) -> JsonObject:
    return {"count": amounts.get("calls", 0), "total": custom_total(amounts)}
