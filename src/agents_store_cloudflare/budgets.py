"""Budgets and prices, for those who run agents: what a session may spend, and what its tokens cost.

`D1UsageStore` reserves and settles (`set_budget`, `reserve`, `settle`); these are the records that it takes and returns.
"""

from agents_store_cloudflare.contract.usage.budgets import Budget, ModelPrice, PriceBook, Reservation, Settlement
from agents_store_cloudflare.usage.prices import price_entry

__all__ = ["Budget", "ModelPrice", "PriceBook", "Reservation", "Settlement", "price_entry"]
