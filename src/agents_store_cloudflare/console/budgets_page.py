"""Budgets: the cap of each scope, with bars of the spent and the reserved amount."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from agents_store_cloudflare.console.asking import Asked, Shown
from agents_store_cloudflare.console.html import Child, Markup, element as h, joined
from agents_store_cloudflare.console.layout import more, note, table
from agents_store_cloudflare.console.sources import Sources
from agents_store_cloudflare.console.text import dollars
from agents_store_cloudflare.console.usage_sql import LIST_BUDGETS
from agents_store_cloudflare.contract.arguments import check_text
from agents_store_cloudflare.contract.usage.budgets import Budget
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.usage.budgets import budget_of

__all__ = ["amount_text", "budgets_of", "budgets_page", "budgets_table"]

PAGE: Final = 50
MOST_AROUND: Final = 8


async def budgets_page(asked: Asked) -> Shown:
    """Return a page of 50 budgets, by scope."""
    after = asked.query.get("after")
    start = "" if after is None else check_text(after, "after")
    [rows] = await asked.sources.rows(Statement(LIST_BUDGETS, (start, PAGE + 1)))
    found = [budget_of(row) for row in rows[:PAGE]]
    last = found[-1].scope if len(rows) > PAGE else None
    onward = None if last is None else asked.link("budgets", after=last)
    data = [_with_remaining(each) for each in found]
    return Shown(
        title="Budgets",
        data={"budgets": data, "nextAfter": last},
        body=lambda: joined(
            budgets_table(asked, found) if found else note("plain", "No scope has a budget."),
            more(("More budgets", onward)),
        ),
    )


def _with_remaining(budget: Budget) -> Any:
    return {**budget.to_dict(), "remaining": budget.remaining}


async def budgets_of(sources: Sources, scopes: Iterable[str]) -> list[Budget]:
    """Return the budgets of the scopes and of the scopes around them, at most 8."""
    pending, found = [*scopes], dict[str, Budget]()
    while pending and len(found) < MOST_AROUND:
        scope = pending.pop(0)
        if scope in found or (budget := await sources.usage.get_budget(scope)) is None:
            continue
        found[scope] = budget
        if budget.parent is not None:
            pending.append(budget.parent)
    return [*found.values()]


def budgets_table(asked: Asked, budgets: Sequence[Budget]) -> Markup:
    """Return a table of budgets with bars."""
    rows: list[Sequence[Child]] = [_row(asked, each) for each in budgets]
    headings = ("Scope", "Spent and reserved", "Spent", "Reserved", "Cap", "Left", "Overruns", "Within", "Go")
    return table("Budgets", headings, rows, numeric=(2, 3, 4, 5, 6))


def _row(asked: Asked, budget: Budget) -> Sequence[Child]:
    used = budget.settled + budget.reserved
    share = f"{100 * used // budget.cap} %" if budget.cap else "no cap left"
    bar = h(
        "meter",
        share,
        min=0,
        max=max(1, budget.cap),
        value=min(used, max(1, budget.cap)),
        high=max(1, budget.cap * 9 // 10),
        optimum=0,
        aria_label=f"{budget.scope}: {share} spent or reserved",
    )
    numbers = (budget.settled, budget.reserved, budget.cap, budget.remaining)
    return [
        h("span", budget.scope, class_="id"),
        [bar, " ", share],
        *(amount_text(number, budget.unit) for number in numbers),
        f"{budget.overruns:,}",
        budget.parent,
        h("a", "Change the cap", href=asked.link("act/raise-budget", scope=budget.scope)),
    ]


def amount_text(amount: int, unit: str) -> str:
    """Return an amount in its unit: dollars for `micro_usd`."""
    return dollars(amount) if unit == "micro_usd" else f"{amount:,} {unit}"
