"""Counts the cost of work. Every batch and every call of a store passes through this module, and is counted while a meter is open."""

from __future__ import annotations

from collections.abc import Coroutine, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, cast, runtime_checkable

from agents_store_cloudflare.contract.costs import Cost, D1Cost, ObjectCost
from agents_store_cloudflare.database import BatchCost, Database, Row, SqlValue, Statement, compact_sql
from agents_store_cloudflare.objects import KeepsLines, ObjectNamespace
from agents_store_cloudflare.objects.rpc_text import ask_for_rows, split_rows

__all__ = ["Meter", "MeteredDatabase", "OpenMeters", "metered_namespace"]


class Meter:
    """Counts the work of one store while the meter is open: `with store.meter() as m`.

    A batch or call counts in every meter that is open when it begins, also when another task makes it. Work that begins inside the block
    is counted to its end.
    """

    def __init__(self) -> None:
        self._cost = Cost()

    @property
    def d1(self) -> D1Cost:
        """The cost in D1 so far."""
        return self._cost.d1

    @property
    def objects(self) -> ObjectCost:
        """The cost in Durable Objects so far."""
        return self._cost.objects

    @property
    def bytes_sent(self) -> int:
        """The bytes that went from Python to JavaScript so far."""
        return self._cost.bytes_sent

    @property
    def bytes_received(self) -> int:
        """The bytes that came from JavaScript to Python so far."""
        return self._cost.bytes_received

    def cost(self) -> Cost:
        """Return the cost so far as a record. The difference of two records is the cost in between."""
        return self._cost

    def add(self, cost: Cost) -> None:
        """Add a cost from elsewhere, such as another store."""
        self._cost += cost


class OpenMeters:
    """The open meters of one store."""

    def __init__(self) -> None:
        self.now: tuple[Meter, ...] = ()

    @contextmanager
    def open(self) -> Generator[Meter]:
        """Open a new meter for the block."""
        meter = Meter()
        self.now = (*self.now, meter)
        try:
            yield meter
        finally:
            self.now = tuple(other for other in self.now if other is not meter)


@runtime_checkable
class _CountsRows(Protocol):
    """A database that returns the cost of a batch."""

    async def measured_batch(self, statements: Sequence[Statement]) -> tuple[list[list[Row]], BatchCost]: ...


class MeteredDatabase(Database):
    """A `Database` that passes batches on, and counts them while a meter is open.

    Attributes:
        primary: the primary database, if `inner` is a session.
    """

    def __init__(self, inner: Database, meters: OpenMeters, *, primary: Database | None = None) -> None:
        self._inner = inner
        self._meters = meters
        self.primary: Database = self if primary is None else primary

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        if not self._meters.now:
            return await self._inner.batch(statements)
        return await self._counted(statements, self._meters.now)

    async def _counted(self, statements: Sequence[Statement], meters: tuple[Meter, ...]) -> list[list[Row]]:
        _add(meters, Cost(d1=D1Cost(round_trips=1, bytes_sent=sum(map(_statement_bytes, statements)))))
        rows_read = rows_written = None
        if isinstance(self._inner, _CountsRows):
            results, cost = await self._inner.measured_batch(statements)
            rows_read, rows_written = cost.rows_read, cost.rows_written
        else:
            results = await self._inner.batch(statements)
        received = sum(_value_bytes(value) for rows in results for row in rows for value in row)
        _add(meters, Cost(d1=D1Cost(rows_read=rows_read, rows_written=rows_written, bytes_received=received)))
        return results


def _statement_bytes(statement: Statement) -> int:
    return _text_bytes(compact_sql(statement.sql)) + sum(map(_value_bytes, statement.parameters))


def _value_bytes(value: SqlValue) -> int:
    if isinstance(value, str):
        return _text_bytes(value)
    return 0 if value is None else 8


def _text_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _add(meters: tuple[Meter, ...], cost: Cost) -> None:
    for meter in meters:
        meter.add(cost)


def metered_namespace(inner: ObjectNamespace, meters: OpenMeters) -> ObjectNamespace:
    """Return a namespace that passes calls on, and counts them while a meter is open. It takes HTTP requests if `inner` does."""
    return _MeteredHttpNamespace(inner, meters) if hasattr(inner, "fetch") else _MeteredNamespace(inner, meters)


class _MeteredNamespace(ObjectNamespace, KeepsLines):
    def __init__(self, inner: ObjectNamespace, meters: OpenMeters) -> None:
        self._inner = inner
        self._meters = meters

    # It adds no coroutine to the call of `inner`. To pyright only an `async def` returns a coroutine's own type.
    def call(self, name: str, request: str) -> Coroutine[Any, Any, str]:  # pyright: ignore[reportIncompatibleMethodOverride]
        # The object is asked for its rows only while a meter is open.
        if not self._meters.now:
            return self._inner.call(name, request)
        return self._counted(name, request, self._meters.now)

    def hang_up(self, name: str) -> None:
        if isinstance(self._inner, KeepsLines):
            self._inner.hang_up(name)

    def open_no_line(self, name: str) -> None:
        if isinstance(self._inner, KeepsLines):
            self._inner.open_no_line(name)

    async def _counted(self, name: str, request: str, meters: tuple[Meter, ...]) -> str:
        # The request for the rows and its answer belong to the meter, so their bytes are not counted.
        _add(meters, Cost(objects=ObjectCost(calls=1, bytes_sent=_text_bytes(name) + _text_bytes(request))))
        reply, rows = split_rows(await self._inner.call(name, ask_for_rows(request)))
        rows_read, rows_written = rows or (None, None)
        received = _text_bytes(reply)
        _add(meters, Cost(objects=ObjectCost(rows_read=rows_read, rows_written=rows_written, bytes_received=received)))
        return reply


class _MeteredHttpNamespace(_MeteredNamespace):
    async def fetch(self, name: str, url: str, headers: Mapping[str, str]) -> object:
        """Send an HTTP GET to the object."""
        if self._meters.now:
            texts = (name, url, *headers.keys(), *headers.values())
            _add(self._meters.now, Cost(objects=ObjectCost(calls=1, bytes_sent=sum(map(_text_bytes, texts)))))
        answer: object = await cast("Any", self._inner).fetch(name, url, headers)
        return answer
