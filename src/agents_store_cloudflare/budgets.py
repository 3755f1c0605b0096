"""Budgets and prices: the limits of an agent's spending, and the prices of its tokens.

`D1UsageStore` has the calls (`set_budget`, `reserve`, `settle`). This module has the records that they take and return.
"""

from agents_store_cloudflare.contract.usage.budgets import Budget, ModelPrice, PriceBook, Reservation, Settlement
from agents_store_cloudflare.usage.prices import price_entry

__all__ = ["Budget", "ModelPrice", "PriceBook", "Reservation", "Settlement", "price_entry"]
