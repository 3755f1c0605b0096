"""The statements of the migrations that make and fill the tables of a usage store."""

from __future__ import annotations

from typing import LiteralString

from agents_store_cloudflare.migrations import migration_text, split_statements
from agents_store_cloudflare.usage.options import DEFAULT_TABLE

__all__ = ["backfills", "creations"]

ENTRIES_FILE, TOTALS_FILE = "0001_init.sql", "0003_agents_store_usage.sql"


def creations() -> list[LiteralString]:
    """Return the statements of the migrations that make the table with its indexes and totals, if they do not exist."""
    return [
        sql
        for name in (ENTRIES_FILE, TOTALS_FILE)
        for sql in split_statements(migration_text(name))
        if DEFAULT_TABLE in sql
    ]


def backfills() -> list[LiteralString]:
    """Return the statements of the migration that count the stored entries of sessions without totals."""
    return [
        sql for sql in split_statements(migration_text(TOTALS_FILE)) if sql.startswith(f"INSERT INTO {DEFAULT_TABLE}_")
    ]
