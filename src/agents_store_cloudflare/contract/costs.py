"""The records that tell what work costs on the platform."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar, cast

from agents_store_cloudflare.contract.record import Record, shape_of

__all__ = ["Cost", "CostEstimate", "D1Cost", "ObjectCost", "Prices"]


@dataclass(frozen=True, slots=True, kw_only=True)
class D1Cost(Record):
    """What a piece of work cost in D1.

    Attributes:
        round_trips: batches sent, those that failed among them; one public call is one, unless docs/costs.md says otherwise.
        rows_read, rows_written: by D1's own count; of a failed batch it tells none. None where something was asked that does not
            count rows, as sqlite does not.
        bytes_sent: statements and their parameters, text as UTF-8, numbers as 8 bytes.
        bytes_received: the values of the rows that came back, counted alike.
    """

    round_trips: int = 0
    rows_read: int | None = 0
    rows_written: int | None = 0
    bytes_sent: int = 0
    bytes_received: int = 0

    def __add__(self, other: D1Cost) -> D1Cost:
        """Both together; rows are None where one of them is."""
        return _combined(self, other, 1)

    def __sub__(self, other: D1Cost) -> D1Cost:
        """What came after `other`, an earlier cost of the same meter."""
        return _combined(self, other, -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectCost(Record):
    """What a piece of work cost in Durable Objects.

    Attributes:
        calls: requests to objects, those among them that brought no reply, that wait for something to come, and HTTP (Server-Sent
            Events, WebSockets).
        rows_read, rows_written: inside the objects, by their own count, while they worked on the calls; what HTTP, a timer or an
            alarm does there belongs to no call. None where an object did not count, as `LocalObjects` do not.
        bytes_sent: the texts of names and requests, as UTF-8.
        bytes_received: the texts of the replies. What an HTTP answer streams does not pass through Python.
    """

    calls: int = 0
    rows_read: int | None = 0
    rows_written: int | None = 0
    bytes_sent: int = 0
    bytes_received: int = 0

    def __add__(self, other: ObjectCost) -> ObjectCost:
        """Both together; rows are None where one of them is."""
        return _combined(self, other, 1)

    def __sub__(self, other: ObjectCost) -> ObjectCost:
        """What came after `other`, an earlier cost of the same meter."""
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
    """What a piece of work cost: what `Meter.cost` gives and `estimate` takes. Costs can be added and subtracted."""

    d1: D1Cost = D1Cost()
    objects: ObjectCost = ObjectCost()

    _NESTED: ClassVar[Mapping[str, type[Record]]] = {"d1": D1Cost, "objects": ObjectCost}

    @property
    def bytes_sent(self) -> int:
        """From Python to JavaScript."""
        return self.d1.bytes_sent + self.objects.bytes_sent

    @property
    def bytes_received(self) -> int:
        """From JavaScript to Python."""
        return self.d1.bytes_received + self.objects.bytes_received

    def __add__(self, other: Cost) -> Cost:
        """Both together."""
        return Cost(d1=self.d1 + other.d1, objects=self.objects + other.objects)

    def __sub__(self, other: Cost) -> Cost:
        """What came after `other`, an earlier cost of the same meter."""
        return Cost(d1=self.d1 - other.d1, objects=self.objects - other.objects)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices(Record):
    """What one of each costs, in pico-dollars: a dollar per million is 1,000,000. See `CLOUDFLARE_PRICES`."""

    d1_row_read: int
    d1_row_written: int
    object_request: int
    object_row_read: int
    object_row_written: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CostEstimate(Record):
    """What a million operations cost, in micro-dollars: exact, for prices are whole pico-dollars. `str` gives dollars."""

    d1_rows_read: int
    d1_rows_written: int
    object_requests: int
    object_rows_read: int
    object_rows_written: int

    @property
    def total(self) -> int:
        """All together, in micro-dollars per million operations."""
        in_d1 = self.d1_rows_read + self.d1_rows_written
        return in_d1 + self.object_requests + self.object_rows_read + self.object_rows_written

    @property
    def dollars(self) -> str:
        """The total in dollars per million operations, every digit of it: "5.151"."""
        whole, fraction = divmod(abs(self.total), 1_000_000)
        digits = f"{fraction:06d}".rstrip("0").ljust(2, "0")
        return f"{'-' if self.total < 0 else ''}{whole}.{digits}"

    def __str__(self) -> str:
        """As people write it: "$5.151 per million"."""
        return f"${self.dollars} per million"
