"""The contract of a usage store: its protocol and its records."""

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
