"""What a run found, as it is kept in JSON: every time of every pair, and what they come to."""

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
    """What one job gave. A cost is None where the job asks nothing of D1.

    Attributes:
        comparison: with JavaScript doing the same.
        over_floor: with Python making the floor's calls, in the same pairs.
        javascript_floor_ms: JavaScript making them.
    """

    job: Job
    comparison: Comparison
    over_floor: Comparison
    javascript_floor_ms: tuple[float, ...]
    javascript_cost: Cost | None
    python_cost: Cost | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """A series' times: for each size those of its measurements, in milliseconds."""

    series: Series
    times_ms: tuple[tuple[float, ...], ...]


def job_entry(finding: Finding) -> Published:
    """One job, as a published run has it."""
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
    """One series, as a published run has it."""
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
