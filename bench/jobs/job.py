"""A job, and its preparation."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

__all__ = ["TABLES", "Floor", "Job", "Json", "Preparation", "Target"]

Json: TypeAlias = Mapping[str, Any]

FEWEST_FLOOR_CALLS = 40  # one alone is too short for the Workers' clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """What both Workers make before anything is timed: the "tables", a "session", a "stream", "usage"."""

    kind: str
    input: Json


TABLES = Preparation(kind="tables", input={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The fewest possible calls that the job could be done with, empty ones.

    Attributes:
        batches, calls: D1 batches, then calls of Durable Objects, one after the other in each lane.
        lanes: how many of these go on at once.
    """

    batches: int = 0
    calls: int = 0
    lanes: int = 1

    def in_words(self) -> str:
        """As a reader counts them."""
        parts = [(self.batches, "D1 batch", "D1 batches"), (self.calls, "object call", "object calls")]
        words = " + ".join(f"{count:,} {one if count == 1 else many}" for count, one, many in parts if count)
        return words if self.lanes == 1 else f"{self.lanes:,} × ({words}) at once"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The ratio that is not to be exceeded.

    Attributes:
        over: beside what: JavaScript doing the same job, or Python doing the empty calls.
    """

    ratio: float
    over: Literal["JavaScript", "floor"] = "JavaScript"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One line of the table.

    Attributes:
        kind: the name under which both Workers know it.
        repetitions: within one measurement; their sum must be long beside the Workers' clock, which ticks every millisecond.
        expected: what a Worker must read back after one measurement.
        target: None: the ratio is stated, nothing is promised.
    """

    name: str
    kind: str
    repetitions: int
    input: Json
    expected: Json
    floor: Floor
    target: Target | None = None
    preparations: tuple[Preparation, ...] = field(default=())

    def beside_tuned(self, how: str) -> "Job":
        """The same job beside JavaScript that does it in the way which this package does: stated, without a target."""
        return replace(self, name=f"{self.name}, JavaScript {how}", input={**self.input, "tuned": True}, target=None)

    def as_floor(self, *, is_fresh: bool = False) -> "Job":
        """The job of making its floor's calls.

        Args:
            is_fresh: each call goes to an object that never was before.
        """
        floor = self.floor
        calls = (floor.batches + floor.calls) * floor.lanes
        repetitions = max(self.repetitions, -(-FEWEST_FLOOR_CALLS // calls))
        return Job(
            name=f"{self.name} (floor)",
            kind="floor",
            repetitions=repetitions,
            input={"batches": floor.batches, "calls": floor.calls, "lanes": floor.lanes, "fresh": is_fresh},
            expected={"made": calls * repetitions},
            floor=floor,
        )
