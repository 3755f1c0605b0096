"""The stores of one request: how they are made, what they do together, and how they delete sessions."""

from agents_store_cloudflare.store.making import create_cloudflare_store
from agents_store_cloudflare.store.store import CloudflareStore

__all__ = ["CloudflareStore", "create_cloudflare_store"]
