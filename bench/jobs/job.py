"""A job, and its preparation."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

__all__ = ["TABLES", "Floor", "Job", "Json", "Preparation", "Target"]

Json: TypeAlias = Mapping[str, Any]

FEWEST_FLOOR_CALLS = 40  # a single call is too short for the Workers' clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """The data that both Workers make before anything is timed: the "tables", a "session", a "stream", "usage"."""

    kind: str
    input: Json


TABLES = Preparation(kind="tables", input={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The fewest calls with which the job can be done, as empty calls.

    Attributes:
        batches, calls: D1 batches, then calls of Durable Objects, one after the other in each lane.
        lanes: the number of lanes that run at the same time.
    """

    batches: int = 0
    calls: int = 0
    lanes: int = 1

    def in_words(self) -> str:
        """Return the calls in words."""
        parts = [(self.batches, "D1 batch", "D1 batches"), (self.calls, "object call", "object calls")]
        words = " + ".join(f"{count:,} {one if count == 1 else many}" for count, one, many in parts if count)
        return words if self.lanes == 1 else f"{self.lanes:,} × ({words}) at once"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The highest allowed ratio.

    Attributes:
        over: the reference: the same job in JavaScript, or the empty calls in Python.
    """

    ratio: float
    over: Literal["JavaScript", "floor"] = "JavaScript"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One line of the table.

    Attributes:
        kind: the name under which both Workers know it.
        repetitions: the repetitions within one measurement. Together they must be much longer than a tick of the Workers' clock,
            which is a millisecond.
        expected: the result that a Worker must read back after one measurement.
        target: the target, or None if the ratio is only shown.
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
        """Return the same job without a target, compared with JavaScript that works in the same way as this package."""
        return replace(self, name=f"{self.name}, JavaScript {how}", input={**self.input, "tuned": True}, target=None)

    def as_floor(self, *, is_fresh: bool = False) -> "Job":
        """Return the job that makes the floor's calls.

        Args:
            is_fresh: each call goes to a new object.
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
