"""Counts what a request costs: D1 batches and their rows, calls to Durable Objects."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from agents_store_cloudflare.bindings import as_database, as_namespace
from agents_store_cloudflare.database import BatchCost, Database
from agents_store_cloudflare.objects import ObjectNamespace

__all__ = ["Meter"]


class Meter:
    """One request's figures, as D1 reports them and as calls leave the Worker."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def database(self, binding: object) -> Database:
        """Return the D1 binding as a `Database` whose batches are counted."""
        return as_database(binding, observer=self._add_batch)

    def namespace(self, binding: object, figure: str) -> ObjectNamespace:
        """Return the Durable Object binding as a namespace whose calls are counted as `figure`."""
        return _MeteredNamespace(as_namespace(binding), self._counts, figure)

    def figures(self, **still_to_come: int) -> dict[str, int]:
        """Return the figures so far, with what is known to follow added."""
        names = ("d1Batches", "d1RowsRead", "d1RowsWritten", "streamCalls", "lockCalls")
        return {name: self._counts[name] + still_to_come.get(name, 0) for name in names}

    def _add_batch(self, cost: BatchCost) -> None:
        self._counts.update(d1Batches=1, d1RowsRead=cost.rows_read, d1RowsWritten=cost.rows_written)


class _MeteredNamespace:
    """An `ObjectNamespace` that counts, and otherwise passes on."""

    def __init__(self, inner: ObjectNamespace, counts: Counter[str], figure: str) -> None:
        self._inner = inner
        self._counts = counts
        self._figure = figure

    async def call(self, name: str, request: str) -> str:
        self._counts[self._figure] += 1
        return await self._inner.call(name, request)

    async def fetch(self, name: str, url: str, headers: Mapping[str, str]) -> Any:
        self._counts[self._figure] += 1
        inner: Any = self._inner
        return await inner.fetch(name, url, headers)
