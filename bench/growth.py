"""Measures how the package's time grows with the size of the work."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.jobs import Job
from bench.jobs.others import rollup_job, step_job, usage_job, waiters_job
from bench.jobs.state import checkpoint_job, load_job, page_job, promote_job, save_job
from bench.jobs.streams import fan_out_job, replay_job, write_job

__all__ = ["FLAT", "LINEAR", "Series", "all_series", "exponent"]

FLAT = 0.15
LINEAR = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One job in several sizes.

    Attributes:
        unit: the unit of the sizes.
        target: the highest allowed exponent: about 0 if the size must not matter, about 1 if the time may grow with the size.
    """

    name: str
    unit: str
    target: float
    jobs: tuple[tuple[int, Job], ...]


def all_series() -> list[Series]:
    """Return every series, each at 1, 10 and 100 times its size."""
    return [
        Series(
            name="save, 1 new message",
            unit="stored messages",
            target=FLAT,
            jobs=tuple((size, save_job(added=1, stored=size, repetitions=20)) for size in (20, 200, 2_000)),
        ),
        Series(
            name="page of 50, in the middle",
            unit="stored messages",
            target=FLAT,
            jobs=tuple(
                (size, page_job("page", count=size, offset=size // 2, repetitions=20)) for size in (100, 1_000, 10_000)
            ),
        ),
        Series(
            name="rollup",
            unit="usage entries",
            target=FLAT,
            jobs=tuple((size, rollup_job(count=size, repetitions=20)) for size in (1_000, 10_000, 100_000)),
        ),
        Series(
            name="load",
            unit="messages of 1 KB",
            target=LINEAR,
            jobs=tuple((size, load_job(count=size, repetitions=2_000 // size or 1)) for size in (20, 200, 2_000)),
        ),
        Series(
            name="checkpoint + restore",
            unit="stored messages",
            target=LINEAR,
            jobs=tuple((size, checkpoint_job(stored=size, repetitions=5)) for size in (20, 200, 2_000)),
        ),
        Series(
            name="promote",
            unit="tool calls",
            target=LINEAR,
            jobs=tuple((size, promote_job(calls=size, repetitions=max(2, 20 // size))) for size in (2, 20, 200)),
        ),
        Series(
            name="stream: write in 50s",
            unit="chunks",
            target=LINEAR,
            jobs=tuple(
                (size, write_job(count=size, flush_chunks=50, repetitions=max(1, 1_000 // size)))
                for size in (100, 1_000, 10_000)
            ),
        ),
        Series(
            name="stream: write one by one",
            unit="chunks",
            target=LINEAR,
            jobs=tuple(
                (size, write_job(count=size, flush_chunks=1, repetitions=100 // size or 1)) for size in (10, 100, 1_000)
            ),
        ),
        Series(
            name="stream: replay",
            unit="chunks",
            target=LINEAR,
            jobs=tuple(
                (size, replay_job(count=size, repetitions=max(2, 2_000 // size))) for size in (100, 1_000, 10_000)
            ),
        ),
        Series(
            name="stream: one chunk to live readers",
            unit="readers",
            target=LINEAR,
            jobs=tuple((size, fan_out_job(readers=size, repetitions=10)) for size in (10, 100, 1_000)),
        ),
        Series(
            name="lock: waiters served",
            unit="waiters",
            target=LINEAR,
            jobs=tuple((size, waiters_job(waiters=size, repetitions=max(1, 50 // size))) for size in (10, 100, 1_000)),
        ),
        Series(
            name="usage entries with totals",
            unit="entries",
            target=LINEAR,
            jobs=tuple((size, usage_job(count=size, repetitions=max(2, 200 // size))) for size in (10, 100, 1_000)),
        ),
        Series(
            name="a whole agent step",
            unit="chunks",
            target=LINEAR,
            jobs=tuple(
                (size, step_job(chunk_count=size, repetitions=max(1, 400 // size))) for size in (40, 400, 4_000)
            ),
        ),
    ]


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the line of least squares through (size, time) on logarithmic scales: 0 is flat, 1 linear, 2 quadratic.

    Raises:
        ValueError: there are fewer than two sizes, or a number has no logarithm.
    """
    if any(size <= 0 or time <= 0 for size, time in points):
        raise ValueError("sizes and times must be above zero")
    logs = [(math.log(size), math.log(time)) for size, time in points]
    if len({size for size, _ in logs}) < 2:
        raise ValueError("a slope takes two sizes")
    mean_size, mean_time = fmean(size for size, _ in logs), fmean(time for _, time in logs)
    rise = sum((size - mean_size) * (time - mean_time) for size, time in logs)
    return rise / sum((size - mean_size) ** 2 for size, _ in logs)
