"""Sends a batch again after a transient failure."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agents_store_cloudflare.database.backoff import backoff_s
from agents_store_cloudflare.database.errors import (
    SqlError,
)
from agents_store_cloudflare.database.interfaces import Database
from agents_store_cloudflare.database.statements import Row, Statement

__all__ = ["ATTEMPTS", "batch_with_retry", "pause_before_retry"]

ATTEMPTS = 4


async def batch_with_retry(database: Database, statements: Sequence[Statement]) -> list[list[Row]]:
    """Send a batch, up to four times while it fails transiently.

    Use it only for batches that are safe to send twice: reads, and writes behind a guard that recognises the repetition.
    """
    for attempt in range(1, ATTEMPTS):
        try:
            return await database.batch(statements)
        except SqlError as error:
            if not error.transient:
                raise
        await pause_before_retry(attempt)
    return await database.batch(statements)


async def pause_before_retry(attempt: int) -> None:
    """Wait for the time that `backoff_s` gives."""
    await asyncio.sleep(backoff_s(attempt))
