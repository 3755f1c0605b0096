"""The records of costs: how much a piece of work did on the platform, and its price."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar, cast

from agents_store_cloudflare.contract.record import Record, shape_of

__all__ = ["Cost", "CostEstimate", "D1Cost", "ObjectCost", "Prices"]


@dataclass(frozen=True, slots=True, kw_only=True)
class D1Cost(Record):
    """The cost of a piece of work in D1.

    Attributes:
        round_trips: how many batches were sent, failed ones included. A public call sends one batch, unless docs/costs.md says
            otherwise.
        rows_read: by D1's own count, which leaves out failed batches. None when the database counts no rows. sqlite counts none.
        rows_written: as `rows_read`.
        bytes_sent: the bytes of the statements and their parameters: text as UTF-8, a number as 8 bytes.
        bytes_received: the bytes of the values of the rows that came back, counted in the same way.
    """

    round_trips: int = 0
    rows_read: int | None = 0
    rows_written: int | None = 0
    bytes_sent: int = 0
    bytes_received: int = 0

    def __add__(self, other: D1Cost) -> D1Cost:
        """Return the sum. Rows are None when they are None in one of the two."""
        return _combined(self, other, 1)

    def __sub__(self, other: D1Cost) -> D1Cost:
        """Return the cost since `other`, an earlier cost of the same meter."""
        return _combined(self, other, -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectCost(Record):
    """The cost of a piece of work in Durable Objects.

    Attributes:
        calls: how many requests went to objects. Requests without a reply, requests that wait for news and HTTP requests
            (Server-Sent Events, WebSockets) count too.
        rows_read: rows that the objects read for these calls, by their own count. Work for HTTP, a timer or an alarm belongs to no
            call. None when an object did not count. `LocalObjects` count none.
        rows_written: as `rows_read`.
        bytes_sent: the bytes of the names and the requests, as UTF-8.
        bytes_received: the bytes of the replies. The chunks that an HTTP answer streams do not pass through Python.
    """

    calls: int = 0
    rows_read: int | None = 0
    rows_written: int | None = 0
    bytes_sent: int = 0
    bytes_received: int = 0

    def __add__(self, other: ObjectCost) -> ObjectCost:
        """Return the sum. Rows are None when they are None in one of the two."""
        return _combined(self, other, 1)

    def __sub__(self, other: ObjectCost) -> ObjectCost:
        """Return the cost since `other`, an earlier cost of the same meter."""
        return _combined(self, other, -1)


_Counts = TypeVar("_Counts", D1Cost, ObjectCost)


def _combined(left: _Counts, right: _Counts, sign: Literal[1, -1]) -> _Counts:
    counts: dict[str, Any] = {}
    for name in shape_of(cast("Hashable", type(left))).keys:
        mine, other = getattr(left, name), getattr(right, name)
        counts[name] = None if mine is None or other is None else mine + sign * other
    return type(left)(**counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost(Record):
    """The cost of a piece of work. `Meter.cost` returns it, and `estimate` takes it. Costs can be added and subtracted."""

    d1: D1Cost = D1Cost()
    objects: ObjectCost = ObjectCost()

    _NESTED: ClassVar[Mapping[str, type[Record]]] = {"d1": D1Cost, "objects": ObjectCost}

    @property
    def bytes_sent(self) -> int:
        """The bytes that went from Python to JavaScript."""
        return self.d1.bytes_sent + self.objects.bytes_sent

    @property
    def bytes_received(self) -> int:
        """The bytes that came from JavaScript to Python."""
        return self.d1.bytes_received + self.objects.bytes_received

    def __add__(self, other: Cost) -> Cost:
        """Return the sum."""
        return Cost(d1=self.d1 + other.d1, objects=self.objects + other.objects)

    def __sub__(self, other: Cost) -> Cost:
        """Return the cost since `other`, an earlier cost of the same meter."""
        return Cost(d1=self.d1 - other.d1, objects=self.objects - other.objects)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices(Record):
    """The price of one row or request, in pico-dollars: one dollar per million is 1,000,000. See `CLOUDFLARE_PRICES`."""

    d1_row_read: int
    d1_row_written: int
    object_request: int
    object_row_read: int
    object_row_written: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CostEstimate(Record):
    """The price of a million operations, in micro-dollars. It is exact: prices are whole pico-dollars. `str` gives dollars."""

    d1_rows_read: int
    d1_rows_written: int
    object_requests: int
    object_rows_read: int
    object_rows_written: int

    @property
    def total(self) -> int:
        """The sum, in micro-dollars per million operations."""
        in_d1 = self.d1_rows_read + self.d1_rows_written
        return in_d1 + self.object_requests + self.object_rows_read + self.object_rows_written

    @property
    def dollars(self) -> str:
        """The total in dollars per million operations, with every digit: "5.151"."""
        whole, fraction = divmod(abs(self.total), 1_000_000)
        digits = f"{fraction:06d}".rstrip("0").ljust(2, "0")
        return f"{'-' if self.total < 0 else ''}{whole}.{digits}"

    def __str__(self) -> str:
        """Return the total as people write it: "$5.151 per million"."""
        return f"${self.dollars} per million"
