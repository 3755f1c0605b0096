"""`python -m bench.capacity` computes the cost of a month in one D1 database and with homes, from counts that tests check.

Rows and calls of a turn are measured (docs/costs.md; tests/in_worker/worker/suite/test_homes.py). Everything else is an argument or a
named assumption, which the output repeats. It is arithmetic: nothing is run.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["ASSUMPTIONS", "LOADS", "Load", "Shape", "in_d1", "in_homes", "main", "page_with", "table"]

BEGIN, END = "<!-- capacity -->\n", "<!-- /capacity -->\n"

GB: Final = 1_000_000_000
D1_LIMIT_GB: Final = 10.0
MEMORY_GB: Final = 0.125
"""The memory that is billed while an object is awake."""

# Dollars, 26 November 2026, beyond what the plan includes.
ROWS_WRITTEN_M: Final = 1.00
ROWS_READ_M: Final = 0.001
REQUESTS_M: Final = 0.15
GB_SECONDS_M: Final = 12.50
D1_GB_MONTH: Final = 0.75
OBJECT_GB_MONTH: Final = 0.20

D1_BATCH_MS: Final = 1.0

ASSUMPTIONS: Final = (
    "A turn writes 10 chunks in one flush, 2 messages, a tokens entry and a checkpoint. In a home the flush is part of the commit.",
    "Calls to objects count as requests one by one, also where a line makes them cheaper.",
    "The stream's object, or the home, is awake for the whole turn; the lock's object only while it answers.",
    "A turn takes over a second, so the alarm of a home rings twice: the directory hears of its beginning and of its end.",
    "Stored is the size of a session's rows in D1. A home adds the pages of its tables; a stream is deleted after a day in both.",
    "A batch keeps D1 busy for 1 ms.",
    "Prices are list prices without what the plan includes; the Workers themselves cost the same in both.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A month of work.

    Attributes:
        turns: of each session.
        kilobytes: stored for each session, in D1.
        seconds: how long a turn lasts.
        peak: turns a second in the busiest minute.
    """

    sessions: int
    turns: int = 20
    kilobytes: float = 20.0
    seconds: float = 10.0
    peak: float = 100.0


LOADS: Final = (Load(sessions=1_000_000), Load(sessions=10_000_000))
"""The loads in docs/homes.md."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """The counts of one turn, and of a session's first turn above that."""

    rows_written: int
    rows_read: int
    requests: int
    d1_batches: int
    first_rows_written: int
    first_requests: int


IN_D1: Final = _Turn(rows_written=24, rows_read=68, requests=5, d1_batches=2, first_rows_written=6, first_requests=0)
"""`store.turn` in docs/costs.md: 18 rows in D1 and 6 in objects; 21 and 9 for the first."""

IN_HOMES: Final = _Turn(
    rows_written=17 + 7 + 11, rows_read=52 + 40, requests=2 + 2, d1_batches=3, first_rows_written=25, first_requests=4
)
"""17 rows in the home (42 for the first turn), with one setting of its alarm. The alarm rings twice, is set three more times and writes
4 rows. In D1 it writes 7 of usage and 4 of the directory."""

HOME_PAGES_BYTES: Final = 57_344
"""A home that has had turns has 64 KB. The session's own data is within the last two of its 16 pages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A month in one of the two shapes, in dollars except for `gigabytes`, `rows`, `requests` and `d1_busy` (a share of one)."""

    name: str
    gigabytes: float
    fits: bool
    storage: float
    rows_written: float
    written: float
    read: float
    calls: float
    requests: float
    duration: float
    d1_busy: float

    @property
    def total(self) -> float:
        """Dollars in the month."""
        return self.storage + self.written + self.read + self.requests + self.duration


def in_d1(load: Load) -> Shape:
    """Return all sessions in one D1 database."""
    gigabytes = load.sessions * load.kilobytes * 1_000 / GB
    return _shape("one D1", load, IN_D1, gigabytes, gigabytes * D1_GB_MONTH, fits=gigabytes <= D1_LIMIT_GB)


def in_homes(load: Load) -> Shape:
    """Return each session in a home of its own; D1 keeps directory, usage and totals."""
    gigabytes = load.sessions * (load.kilobytes * 1_000 + HOME_PAGES_BYTES) / GB
    return _shape("homes", load, IN_HOMES, gigabytes, gigabytes * OBJECT_GB_MONTH, fits=True)


def _shape(name: str, load: Load, turn: _Turn, gigabytes: float, storage: float, *, fits: bool) -> Shape:
    turns = load.sessions * load.turns
    written = turns * turn.rows_written + load.sessions * turn.first_rows_written
    calls = turns * turn.requests + load.sessions * turn.first_requests
    return Shape(
        name=name,
        gigabytes=gigabytes,
        fits=fits,
        storage=storage,
        rows_written=written,
        written=written * ROWS_WRITTEN_M / 1e6,
        read=turns * turn.rows_read * ROWS_READ_M / 1e6,
        calls=calls,
        requests=calls * REQUESTS_M / 1e6,
        duration=turns * load.seconds * MEMORY_GB * GB_SECONDS_M / 1e6,
        d1_busy=load.peak * turn.d1_batches * D1_BATCH_MS / 1_000,
    )


def table(loads: Sequence[Load]) -> str:
    """Return the table in Markdown: both shapes for each load."""
    lines = [
        "| sessions | shape | stored | storage | rows written | | rows read | requests | | awake | a month | D1 busy at the peak |",
        "|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for load in loads:
        lines += [_line(load, shape) for shape in (in_d1(load), in_homes(load))]
    return "\n".join(lines) + "\n"


def page_with(page: str) -> str:
    """Return a page with the table of `LOADS` and the assumptions between its marks."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{table(LOADS)}\n{_assumed()}\n{END}{after}"


def _assumed() -> str:
    return "".join(f"- {each}\n" for each in ASSUMPTIONS)


def _line(load: Load, shape: Shape) -> str:
    stored = f"{shape.gigabytes:,.0f} GB" + ("" if shape.fits else ": does not fit")
    cells = [
        f"{load.sessions:,}",
        shape.name,
        stored,
        f"${shape.storage:,.0f}",
        f"{shape.rows_written / 1e6:,.0f} M",
        f"${shape.written:,.0f}",
        f"${shape.read:,.0f}",
        f"{shape.calls / 1e6:,.0f} M",
        f"${shape.requests:,.0f}",
        f"${shape.duration:,.0f}",
        f"${shape.total:,.0f}",
        f"{shape.d1_busy:.0%}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table and its assumptions."""
    parser = argparse.ArgumentParser(description="What a month costs in one D1 database, and with homes.")
    parser.add_argument("--sessions", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--turns", type=int, default=20, help="turns of each session in the month")
    parser.add_argument("--kilobytes", type=float, default=20.0, help="stored for each session")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long a turn lasts")
    parser.add_argument("--peak", type=float, default=100.0, help="turns a second in the busiest minute")
    given = parser.parse_args()
    loads = [
        Load(
            sessions=sessions,
            turns=given.turns,
            kilobytes=given.kilobytes,
            seconds=given.seconds,
            peak=given.peak,
        )
        for sessions in given.sessions
    ]
    print(table(loads))
    print(_assumed(), end="")


if __name__ == "__main__":
    main()
