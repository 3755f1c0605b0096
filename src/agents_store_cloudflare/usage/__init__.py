"""The usage role: entries of what sessions used, and their totals, in D1."""

from agents_store_cloudflare.usage.options import UsageOptions
from agents_store_cloudflare.usage.store import D1UsageStore

__all__ = ["D1UsageStore", "UsageOptions"]
