"""The usage role: entries, totals and budgets in D1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents_store_cloudflare.contract.lazy_names import lazy_names

if TYPE_CHECKING:
    from agents_store_cloudflare.usage.options import UsageOptions
    from agents_store_cloudflare.usage.otel import OTEL_ATTRIBUTES, otel_attributes
    from agents_store_cloudflare.usage.prices import price_entry
    from agents_store_cloudflare.usage.recording import usage_statements
    from agents_store_cloudflare.usage.reserving import by_database_clock, reserve_statements, settle_statement
    from agents_store_cloudflare.usage.store import D1UsageStore
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "options": ("UsageOptions",),
            "otel": ("OTEL_ATTRIBUTES", "otel_attributes"),
            "prices": ("price_entry",),
            "recording": ("usage_statements",),
            "reserving": ("by_database_clock", "reserve_statements", "settle_statement"),
            "store": ("D1UsageStore",),
        },
    )

__all__ = [
    "OTEL_ATTRIBUTES",
    "D1UsageStore",
    "UsageOptions",
    "by_database_clock",
    "otel_attributes",
    "price_entry",
    "reserve_statements",
    "settle_statement",
    "usage_statements",
]
