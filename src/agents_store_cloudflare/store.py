"""`create_cloudflare_store`: the stores of one request, from its bindings."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from agents_store_cloudflare.bindings import as_database, as_namespace
from agents_store_cloudflare.locks import DurableObjectLockManager, LockOptions
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.state import D1StateStore, StateStoreOptions
from agents_store_cloudflare.streams import DurableObjectStreamManager, StreamOptions
from agents_store_cloudflare.usage import D1UsageStore, UsageOptions

__all__ = ["CloudflareStore", "create_cloudflare_store"]
