"""The usage role: entries, totals and budgets in D1."""

from agents_store_cloudflare.usage.options import UsageOptions
from agents_store_cloudflare.usage.otel import OTEL_ATTRIBUTES, otel_attributes
from agents_store_cloudflare.usage.prices import price_entry
from agents_store_cloudflare.usage.recording import usage_statements
from agents_store_cloudflare.usage.reserving import reserve_statements, settle_statement
from agents_store_cloudflare.usage.store import D1UsageStore

__all__ = [
    "OTEL_ATTRIBUTES",
    "D1UsageStore",
    "UsageOptions",
    "otel_attributes",
    "price_entry",
    "reserve_statements",
    "settle_statement",
    "usage_statements",
]
