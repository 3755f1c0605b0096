"""The Worker's D1 in the place of `SqliteDatabase`: tests of the host run on it as they are."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.database import Row, Statement
from agents_store_cloudflare.database.sqlite import DAY_MS, EPOCH_DAY
from agents_store_cloudflare.migrations import drop_all_tables

__all__ = ["RealD1"]

NOW = "julianday('now')"


class RealD1:
    """A D1 database without tables, although there is one binding: the first batch drops what the last test has left.

    Args:
        binding: the binding.
        now_ms: a test's clock. Statements read it instead of D1's.

    Attributes:
        batches: how many batches were sent.
        sent: the SQL of each statement.
    """

    def __init__(self, binding: Any, *, now_ms: Callable[[], int] | None = None) -> None:
        self._d1 = as_database(binding)
        self._now_ms = now_ms
        self._one_drop = asyncio.Lock()
        self._is_empty = False
        self.batches: int = 0
        self.sent: set[str] = set()

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run the statements in one round trip and one transaction, and return the rows of each."""
        async with self._one_drop:
            if not self._is_empty:
                await drop_all_tables(self._d1)
                self._is_empty = True
        self.batches += 1
        self.sent.update(each.sql for each in statements)
        return await self._d1.batch([self._timed(each) for each in statements])

    def _timed(self, statement: Statement) -> Statement:
        if self._now_ms is None:
            return statement
        day = repr(self._now_ms() / DAY_MS + EPOCH_DAY)
        sql: Any = statement.sql.replace(NOW, day)
        return replace(statement, sql=sql)
