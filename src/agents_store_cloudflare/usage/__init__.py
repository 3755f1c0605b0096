"""The usage role: entries of what sessions used, their totals, and budgets, in D1."""

from agents_store_cloudflare.usage.deletion_sql import deletion_of
from agents_store_cloudflare.usage.options import UsageOptions
from agents_store_cloudflare.usage.otel import OTEL_ATTRIBUTES, otel_attributes
from agents_store_cloudflare.usage.prices import price_entry
from agents_store_cloudflare.usage.recording import record_statements
from agents_store_cloudflare.usage.store import D1UsageStore

__all__ = [
    "OTEL_ATTRIBUTES",
    "D1UsageStore",
    "UsageOptions",
    "deletion_of",
    "otel_attributes",
    "price_entry",
    "record_statements",
]
