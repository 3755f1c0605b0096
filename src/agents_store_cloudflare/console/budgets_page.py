"""Budgets: the cap of each scope, with bars of the spent and the reserved amount."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from agents_store_cloudflare.console.asking import Asked, Shown
from agents_store_cloudflare.console.html import Child, Markup, element as h, joined
from agents_store_cloudflare.console.layout import more, note, table
from agents_store_cloudflare.console.sources import Sources
from agents_store_cloudflare.console.text import dollars, one_line
from agents_store_cloudflare.console.usage_sql import LIST_BUDGETS
from agents_store_cloudflare.contract.arguments import check_text
from agents_store_cloudflare.contract.errors import UsageError
from agents_store_cloudflare.contract.usage.budgets import Budget
from agents_store_cloudflare.database import Row, Statement
from agents_store_cloudflare.usage.budget_sql import SELECT_BUDGET
from agents_store_cloudflare.usage.budgets import budget_of

__all__ = ["ScopeBudgets", "amount_text", "budgets_of", "budgets_page", "budgets_table"]

PAGE: Final = 50
MOST_AROUND: Final = 8


@dataclass(frozen=True, slots=True)
class ScopeBudgets:
    """The budgets of some scopes.

    Attributes:
        unreadable: the scopes whose row another program has damaged.
    """

    found: tuple[Budget, ...] = ()
    unreadable: tuple[str, ...] = ()


async def budgets_page(asked: Asked) -> Shown:
    """Return a page of 50 budgets, in the order of their scopes."""
    after = asked.query.get("after")
    start = "" if after is None else check_text(after, "after")
    [rows] = await asked.sources.rows(Statement(LIST_BUDGETS, (start, PAGE + 1)))
    listed = _readable(rows[:PAGE])
    last = rows[PAGE - 1][0] if len(rows) > PAGE else None
    onward = asked.link("budgets", after=last) if isinstance(last, str) else None
    return Shown(
        title="Budgets",
        data={
            "budgets": [_with_remaining(each) for each in listed.found],
            "unreadable": list(listed.unreadable),
            "nextAfter": last if isinstance(last, str) else None,
        },
        body=lambda: joined(
            budgets_table(asked, listed) if rows else note("plain", "No scope has a budget."),
            more(("More budgets", onward)),
        ),
    )


def _readable(rows: Iterable[Row]) -> ScopeBudgets:
    found: list[Budget] = []
    unreadable: list[str] = []
    for row in rows:
        try:
            found.append(budget_of(row))
        except UsageError:
            unreadable.append(str(row[0]))
    return ScopeBudgets(tuple(found), tuple(unreadable))


def _with_remaining(budget: Budget) -> Any:
    return {**budget.to_dict(), "remaining": budget.remaining}


async def budgets_of(sources: Sources, scopes: Iterable[str]) -> ScopeBudgets:
    """Return the budgets of the scopes and of the scopes around them, at most 8. A scope without a budget is left out."""
    pending, found, unreadable = [*scopes], dict[str, Budget](), list[str]()
    while pending and len(found) + len(unreadable) < MOST_AROUND:
        scope = pending.pop(0)
        if scope in found or scope in unreadable:
            continue
        [rows] = await sources.rows(Statement(SELECT_BUDGET, (scope,)))
        listed = _readable(rows)
        unreadable += listed.unreadable
        for budget in listed.found:
            found[scope] = budget
            pending += [] if budget.parent is None else [budget.parent]
    return ScopeBudgets(tuple(found.values()), tuple(unreadable))


def budgets_table(asked: Asked, budgets: ScopeBudgets) -> Markup:
    """Return a table of budgets with bars, below a note on the scopes whose row cannot be read."""
    rows: list[Sequence[Child]] = [_row(asked, each) for each in budgets.found]
    headings = ("Scope", "Spent and reserved", "Spent", "Reserved", "Cap", "Left", "Overruns", "Within", "Go")
    names = ", ".join(one_line(each, 200) for each in budgets.unreadable)
    return joined(
        note("warn", f"Rows that cannot be read: {names}. `agents-store doctor` names their columns.")
        if names
        else None,
        table("Budgets", headings, rows, numeric=(2, 3, 4, 5, 6)) if rows else None,
    )


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
