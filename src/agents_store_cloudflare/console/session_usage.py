"""The usage of one session: tokens, calls and money by model, tool, agent and name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from agents_store_cloudflare.console.html import Child, Markup, element as h
from agents_store_cloudflare.console.layout import panel, table
from agents_store_cloudflare.console.sources import Sources
from agents_store_cloudflare.console.text import dollars
from agents_store_cloudflare.contract.record import Record
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.state.damage import shown_row
from agents_store_cloudflare.usage.amounts import count
from agents_store_cloudflare.usage.rollup import UNREADABLE, stored_amounts
from agents_store_cloudflare.usage.sql import SELECT_ROLLUP
from agents_store_cloudflare.usage.table_names import for_table

__all__ = ["UsageLine", "session_usage", "usage_panel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageLine(Record):
    """The total of one model, tool, agent type or custom name.

    Attributes:
        kind: "tokens", "tool", "subagent" or "custom".
        name: the model, the tool, the agent type or the custom name.
        unreadable_rows: the rows that another program has damaged. The sums do not have them.
    """

    kind: str
    name: str
    entries: int
    calls: int
    failed: int
    prompt: int
    completion: int
    cached: int
    reasoning: int
    duration_ms: int
    cost_micros: int
    unpriced: int
    unreadable_rows: int = 0


_COUNTS: Final = {
    "entries": "entries",
    "calls": "calls",
    "failed": "failed",
    "prompt": "prompt",
    "completion": "completion",
    "cached": "cached",
    "reasoning": "reasoning",
    "duration_ms": "durationMs",
    "cost_micros": "costMicros",
    "unpriced": "unpriced",
    "unreadable_rows": UNREADABLE,
}
_OF_MODELS: Final[Sequence[str]] = ("Model", "Calls", "Prompt", "Cached of it", "Completion", "Reasoning of it", "Cost")
_OF_OTHERS: Final = ("Calls", "Failed", "Took in all, ms", "Cost")
_TITLES: Final = (("tokens", "By model"), ("tool", "By tool"), ("subagent", "By sub-agent"), ("custom", "Custom"))


async def session_usage(sources: Sources, session_id: str) -> tuple[UsageLine, ...]:
    """Return the totals of a session, one line for each name. Totals that were kept for deleted entries count too."""
    statement = Statement(for_table(SELECT_ROLLUP, sources.usage_table), (session_id,))
    [rows] = await sources.rows(statement)
    sums: dict[tuple[str, str], dict[str, int]] = {}
    for row in rows:
        kind, name = cast("list[str]", shown_row(row[1:3], (str, str)))
        amounts = stored_amounts(row[-1])
        line = sums.setdefault((kind, name), dict.fromkeys(_COUNTS, 0))
        for field, key in _COUNTS.items():
            line[field] += count(amounts, key)
    return tuple(UsageLine(kind=kind, name=name, **line) for (kind, name), line in sorted(sums.items()))


def usage_panel(lines: Sequence[UsageLine]) -> Markup:
    """Return the panel with the usage of a session and its cost."""
    if not lines:
        return panel("Usage", h("p", "Nothing was recorded."))
    cost, unpriced = sum(each.cost_micros for each in lines), sum(each.unpriced for each in lines)
    rest = f" and {unpriced:,} entries without a price" if unpriced else ""
    damaged = sum(each.unreadable_rows for each in lines)
    rest += f"; {damaged:,} damaged rows are left out" if damaged else ""
    return panel(
        "Usage",
        h("p", f"{sum(each.entries for each in lines):,} entries, {dollars(cost)}{rest}."),
        [_table(kind, title, lines) for kind, title in _TITLES],
    )


def _table(kind: str, title: str, lines: Sequence[UsageLine]) -> Child:
    mine = [each for each in lines if each.kind == kind]
    if not mine:
        return None
    is_model = kind == "tokens"
    headings = _OF_MODELS if is_model else (title.removeprefix("By ").capitalize(), *_OF_OTHERS)
    rows = [_numbers(each, is_model=is_model) for each in mine]
    shown: list[Sequence[Child]] = [
        [each.name or "-", *(f"{number:,}" for number in row), _cost(each)]
        for each, row in zip(mine, rows, strict=True)
    ]
    return table(title, headings, shown, numeric=range(1, len(headings)))


def _numbers(each: UsageLine, *, is_model: bool) -> tuple[int, ...]:
    if is_model:
        return (each.calls, each.prompt, each.cached, each.completion, each.reasoning)
    return (each.calls, each.failed, each.duration_ms)


def _cost(each: UsageLine) -> str:
    if each.unpriced and not each.cost_micros:
        return "unpriced"
    return dollars(each.cost_micros) + (f" + {each.unpriced} unpriced" if each.unpriced else "")
