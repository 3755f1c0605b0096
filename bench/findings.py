"""The results of a run for its JSON file: every time of every pair, and the summaries."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, TypeAlias

from bench.growth import Series, exponent
from bench.jobs import Job
from bench.ratios import Comparison
from bench.workers import Cost

__all__ = ["Finding", "Growth", "Published", "growth_entry", "job_entry"]

Published: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one job. A cost is None if the job sends nothing to D1.

    Attributes:
        comparison: the comparison with the same work in JavaScript.
        over_floor: the comparison with the floor's calls made by Python, in the same pairs.
        javascript_floor_ms: the time of the floor's calls made by JavaScript.
    """

    job: Job
    comparison: Comparison
    over_floor: Comparison
    javascript_floor_ms: tuple[float, ...]
    javascript_cost: Cost | None
    python_cost: Cost | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """The times of a series in milliseconds: the measurements of each size."""

    series: Series
    times_ms: tuple[tuple[float, ...], ...]


def job_entry(finding: Finding) -> Published:
    """Return the entry of one job in a published run."""
    job, comparison, over_floor = finding.job, finding.comparison, finding.over_floor
    return {
        "name": job.name,
        "repetitions": job.repetitions,
        "ratio": asdict(comparison.ratio),
        "target": asdict(job.target) if job.target else None,
        "javascript": _side(comparison.reference_ms, finding.javascript_cost),
        "python": _side(comparison.own_ms, finding.python_cost),
        "floor": {
            "calls": job.floor.in_words(),
            "javascriptMs": median(finding.javascript_floor_ms),
            "pythonMs": over_floor.reference_median_ms,
            "ratio": asdict(over_floor.ratio),
        },
    }


def growth_entry(growth: Growth) -> Published:
    """Return the entry of one series in a published run."""
    sizes = [size for size, _ in growth.series.jobs]
    medians_ms = [median(times_ms) for times_ms in growth.times_ms]
    return {
        "name": growth.series.name,
        "unit": growth.series.unit,
        "sizes": sizes,
        "medianMs": medians_ms,
        "timesMs": [list(times_ms) for times_ms in growth.times_ms],
        "exponent": exponent(list(zip(sizes, medians_ms, strict=True))),
        "target": growth.series.target,
    }


def _side(times_ms: Sequence[float], cost: Cost | None) -> Published:
    d1 = None
    if cost is not None:
        d1 = {"batches": cost.batches, "rowsRead": cost.rows_read, "rowsWritten": cost.rows_written}
    return {"medianMs": median(times_ms), "timesMs": list(times_ms), "d1": d1}
