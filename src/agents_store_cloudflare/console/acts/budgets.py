"""The act on a budget: raise its cap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agents_store_cloudflare.console.acts.act import (
    Act,
    Entry,
    Plan,
    Receipt,
)
from agents_store_cloudflare.console.asking import Asked
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.usage.budgets import Budget

__all__ = ["RAISE_BUDGET"]


async def _budget(asked: Asked) -> Budget:
    scope = asked.needed("scope")
    budget = await asked.sources.usage.get_budget(scope)
    if budget is None:
        raise InvalidArgumentError(f"scope {scope!r} has no budget")
    return budget


async def _plan_budget(asked: Asked) -> Plan:
    budget = await _budget(asked)
    within = "" if budget.parent is None else f" It stands within {budget.parent}, whose cap holds too."
    return Plan(
        title=f"Raise the budget of {budget.scope}",
        says=(
            f"The cap is {budget.cap:,} {budget.unit}; {budget.settled:,} are spent and {budget.reserved:,} reserved.{within}",
            "Reserved and spent amounts stay unchanged.",
        ),
        fixed={"scope": budget.scope, "cap": str(budget.cap)},
        entries=(Entry(name="new_cap", label=f"New cap, in {budget.unit}", value=str(budget.cap), kind="number"),),
        button="Raise the cap",
        back=asked.link("budgets"),
    )


async def _raise_budget(asked: Asked, given: Mapping[str, str]) -> Receipt:
    budget, text = await _budget(asked), given.get("new_cap", "")
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise InvalidArgumentError("the new cap must be a whole number")
    cap = int(text)
    if cap != budget.cap:  # otherwise this is a repetition, and its work is done
        if str(budget.cap) != given["cap"]:
            raise InvalidArgumentError(f"the cap is {budget.cap:,} by now; look again before you change it")
        if cap < budget.cap:
            raise InvalidArgumentError(f"the new cap is below {budget.cap:,}; set_budget lowers one")
        budget = await asked.sources.usage.set_budget(
            budget.scope, cap, budget.unit, parent=budget.parent, expected_cap=budget.cap
        )
    return Receipt(
        title="The cap is raised",
        facts=(("Scope", budget.scope), ("Cap", f"{budget.cap:,} {budget.unit}"), ("Left", f"{budget.remaining:,}")),
        data=budget.to_dict(),
        back=asked.link("budgets"),
    )


RAISE_BUDGET: Final = Act(plan=_plan_budget, perform=_raise_budget, written=frozenset({"new_cap"}))
