"""A small published run, made by the bench's own arithmetic."""

from dataclasses import replace

from bench.findings import Finding, Growth, Published, growth_entry, job_entry
from bench.first_request import first_request_entry
from bench.growth import Series
from bench.jobs import Floor, Job, Target
from bench.memory import memory_entry
from bench.ratios import compared

__all__ = ["JOB", "finding", "growth", "run"]

JOB = Job(name="save", kind="save", repetitions=2, input={}, expected={}, floor=Floor(batches=1))
MEGABYTE = 1024 * 1024


def finding(*, target: Target | None = None, python_ms: tuple[float, float] = (1.0, 3.0)) -> Finding:
    """A job of 2 ms in JavaScript, its floor 1 ms in Python."""
    return Finding(
        job=replace(JOB, target=target),
        comparison=compared([(2.0, python_ms[0]), (2.0, python_ms[1])]),
        over_floor=compared([(1.0, python_ms[0]), (1.0, python_ms[1])]),
        javascript_floor_ms=(0.5, 0.7),
        javascript_cost=None,
        python_cost=None,
    )


def growth(*times_ms: float, target: float = 1.1) -> Growth:
    """One measurement at each of the sizes 1, 10, 100 …"""
    jobs = tuple((10**power, JOB) for power in range(len(times_ms)))
    series = Series(name="load", unit="messages", target=target, jobs=jobs)
    return Growth(series=series, times_ms=tuple((time_ms,) for time_ms in times_ms))


def run() -> Published:
    """All that a page is made of."""
    return {
        "when": "2026-11-23T06:00:00+00:00",
        "pairs": 2,
        "versions": {"agents-store-cloudflare": "0.1.0", "workerd": "1.0"},
        "machine": {"cpu": "Some CPU", "cores": 2, "architecture": "x86_64", "loadBefore": 0.1},
        "jobs": [job_entry(finding(target=Target(ratio=0.8))), job_entry(finding())],
        "growth": [growth_entry(growth(1.0, 10.0, 100.0))],
        "platform": [
            {"name": "an empty D1 batch", "javascriptUs": 900.0, "pythonUs": 1_200.0},
            {"name": "a call", "javascriptUs": None, "pythonUs": 1.25},
        ],
        "waiting": [{"name": "save", "elapsedMs": 2.5, "d1Ms": 1.75, "objectsMs": 0.0}],
        "firstRequest": first_request_entry([100.0, 110.0, 90.0], [150.0, 170.0, 160.0]),
        "memory": memory_entry(
            javascript_bytes=(0, 300_000_000),
            python_bytes=(100 * MEGABYTE, 500 * MEGABYTE),
            living=1_050,
            living_later=300,
            later_bytes=450 * MEGABYTE,
        ),
    }
