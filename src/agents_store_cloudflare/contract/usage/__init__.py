"""The contract of a usage store: its protocol and its records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents_store_cloudflare.contract.lazy_names import lazy_names

if TYPE_CHECKING:
    from agents_store_cloudflare.contract.usage.budgets import Budget, ModelPrice, PriceBook, Reservation, Settlement
    from agents_store_cloudflare.contract.usage.records import (
        SubAgentStats,
        TokenCounts,
        ToolStats,
        UsageEntry,
        UsageRollup,
        UsageSource,
        UsageTotals,
    )
    from agents_store_cloudflare.contract.usage.store import UsageStore
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "budgets": ("Budget", "ModelPrice", "PriceBook", "Reservation", "Settlement"),
            "records": (
                "SubAgentStats",
                "TokenCounts",
                "ToolStats",
                "UsageEntry",
                "UsageRollup",
                "UsageSource",
                "UsageTotals",
            ),
            "store": ("UsageStore",),
        },
    )

__all__ = [
    "Budget",
    "ModelPrice",
    "PriceBook",
    "Reservation",
    "Settlement",
    "SubAgentStats",
    "TokenCounts",
    "ToolStats",
    "UsageEntry",
    "UsageRollup",
    "UsageSource",
    "UsageStore",
    "UsageTotals",
]
