"""The usage of all sessions: a chart, a table, and a CSV file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agents_store_cloudflare.console.asking import Asked, Shown
from agents_store_cloudflare.console.chart import bar_chart
from agents_store_cloudflare.console.csv_text import csv_text
from agents_store_cloudflare.console.html import Child, Markup, element as h, joined
from agents_store_cloudflare.console.layout import more, note, table
from agents_store_cloudflare.console.text import dollars
from agents_store_cloudflare.console.totals import UsageQuery, UsageTable, usage_query, usage_table
from agents_store_cloudflare.contract.usage.records import UsageTotals
from agents_store_cloudflare.objects.http_messages import HttpResponse

__all__ = ["usage_csv", "usage_page"]

_BY: Final = (("day", "Day"), ("model", "Model"), ("agent", "Agent"), ("tool", "Tool"), ("tenant", "Tenant"))
_COLUMNS: Final = (
    "Entries",
    "Calls",
    "Failed",
    "Prompt tokens",
    "Completion tokens",
    "All tokens",
    "Cost",
    "Unpriced",
)


async def usage_page(asked: Asked) -> Shown:
    """Return the page of totals."""
    query = usage_query(asked)
    found = await usage_table(asked.sources, query, asked.query.get("cursor"))
    return Shown(title="Usage", data=found.to_dict(), body=lambda: _body(asked, query, found))


async def usage_csv(asked: Asked) -> HttpResponse:
    """Return the totals as a CSV file."""
    query = usage_query(asked)
    found = await usage_table(asked.sources, query, asked.query.get("cursor"))
    headings = (
        query.by,
        "entries",
        "calls",
        "failed",
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "cost_micros",
        "unpriced_entries",
    )
    rows: list[Sequence[str | int]] = [[each.key, *_numbers(each)] for each in found.totals]
    headers = {
        "content-type": "text/csv; charset=utf-8",
        "content-disposition": f'attachment; filename="usage-by-{query.by}.csv"',
    }
    return HttpResponse(status=200, headers=headers, body=csv_text(headings, rows))


def _numbers(each: UsageTotals) -> tuple[int, ...]:
    tokens = each.tokens
    counts = (each.entry_count, each.calls, each.failed, tokens.prompt, tokens.completion, tokens.total)
    return (*counts, each.cost_micros, each.unpriced_entries)


def _body(asked: Asked, query: UsageQuery, found: UsageTable) -> Markup:
    named = dict(_BY)[query.by]
    given = {name: value for name, value in asked.query.items() if name != "cursor"}
    onward = asked.link("usage", **given, cursor=found.next_cursor) if found.next_cursor else None
    if not found.totals:
        return joined(_form(asked, query), note("plain", "No usage fits."))
    rows: list[Sequence[Child]] = [_row(each) for each in found.totals]
    return joined(
        _form(asked, query),
        _chart(named, found.totals),
        table(f"Usage by {query.by}", (named, *_COLUMNS), rows, numeric=range(1, 9)),
        None
        if found.partial is None
        else note("warn", f"{found.partial} has more sessions than one part holds, so its totals are not complete."),
        more(("As CSV", asked.link("usage.csv", **asked.query)), ("More tenants", onward)),
    )


def _row(each: UsageTotals) -> Sequence[Child]:
    *counts, cost, unpriced = _numbers(each)
    return [each.key or "-", *(f"{number:,}" for number in counts), dollars(cost), f"{unpriced:,}"]


def _chart(named: str, totals: Sequence[UsageTotals]) -> Child:
    by_cost = any(each.cost_micros > 0 for each in totals)
    by_tokens = any(each.tokens.total > 0 for each in totals)

    def bar(each: UsageTotals) -> tuple[str, int, str]:
        if by_cost:
            return each.key, each.cost_micros, dollars(each.cost_micros)
        amount = each.tokens.total if by_tokens else each.calls
        return each.key, amount, f"{amount:,}"

    what = "Cost" if by_cost else "Tokens" if by_tokens else "Calls"
    bars = [bar(each) for each in totals]
    if named == "Day":
        bars = bars[-40:]
    else:
        bars.sort(key=lambda each: -each[1])
    return bar_chart(f"{what} by {named.lower()}", bars)


def _form(asked: Asked, query: UsageQuery) -> Markup:
    options = [h("option", name, value=by, selected=by == query.by) for by, name in _BY]
    fields = (
        ("first_day", "First day", "date"),
        ("last_day", "Last day", "date"),
        ("agent", "Agent", "search"),
        ("model", "Model", "search"),
        ("tool", "Tool", "search"),
    )
    tenants = (("prefix", "Tenants: ids begin with"), ("separator", "Tenants: name ends at"))
    return h(
        "form",
        h("label", "By", h("select", options, name="by")),
        [
            h("label", name, h("input", type=kind, name=key, value=getattr(query, key) or "", autocomplete="off"))
            for key, name, kind in fields
        ],
        [
            h("label", name, h("input", type="search", name=key, value=getattr(query, key) or "", autocomplete="off"))
            for key, name in tenants
        ],
        h("button", "Show", type="submit"),
        class_="filter",
        action=asked.link("usage"),
    )
