"""The whole contract of a usage store: its parts stand in the modules beside this one."""

from __future__ import annotations

from typing import Protocol

from agents_store_cloudflare.contract.usage.budget_store import BudgetStore
from agents_store_cloudflare.contract.usage.entry_store import EntryStore
from agents_store_cloudflare.contract.usage.totals_store import TotalsStore

__all__ = ["UsageStore"]


class UsageStore(BudgetStore, EntryStore, TotalsStore, Protocol):
    """The use that sessions made of tokens, tools and sub-agents, its cost, and budgets.

    Any other number can be counted too.

    Totals change in the same transaction as the entries: at every moment they are the sum of the entries.

    Every call checks its arguments before it sends anything, and raises `TypeError` or `InvalidArgumentError`. Every call raises
    `UsageError` when the database fails.
    """
