"""The measurements that two served Workers take part in."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median
from typing import TypeVar

from bench.findings import Finding, Growth, Published, growth_entry, job_entry
from bench.growth import Series
from bench.jobs import Floor, Job
from bench.ratios import compared
from bench.workers import BenchError, ServedWorker, beside, both_served, served

__all__ = ["PLATFORM_STEPS", "run_growth", "run_jobs", "run_platform", "run_waiting"]

T = TypeVar("T")

GROWTH_MEASUREMENTS = 3
PLATFORM_MEASUREMENTS = 5
WAITING_MEASUREMENTS = 5
MANY_AT_ONCE = ("waiters", "fan_out")
PLATFORM_TIMES = 10_000
EMPTY = Job(name="empty", kind="", repetitions=100, input={}, expected={}, floor=Floor(calls=1))
EMPTY_CALLS = {
    "an empty D1 batch": replace(EMPTY, floor=Floor(batches=1)).as_floor(),
    "an empty call of a Durable Object": EMPTY.as_floor(),
    "the first call of a new Durable Object": EMPTY.as_floor(is_fresh=True),
}
PLATFORM_STEPS = {
    "call": "a call from Python into JavaScript",
    "promise": "waiting for a JavaScript promise that is resolved already",
    "coroutine": "waiting for a Python coroutine that waits for nothing",
    "task": "the same in a task of its own",
    "encode": "one chunk as JSON text (`json.dumps`)",
    "decode": "one chunk out of JSON text (`json.loads`)",
}


def run_jobs(jobs: Sequence[Job], pairs: int, against: str | None = None) -> tuple[list[Published], list[str]]:
    """Return the entries of the jobs, and the errors of jobs without an entry.

    Args:
        against: the address of another version's Python Worker, which takes the place of JavaScript.
    """
    with beside(against) if against else both_served() as (javascript, python):
        return _each(jobs, lambda job: job.name, lambda job: job_entry(compare(job, javascript, python, pairs)))


def compare(job: Job, javascript: ServedWorker, python: ServedWorker, pairs: int) -> Finding:
    """Measure both sides in turn. The first side changes each time. One round of each before warms up and counts.

    Each pair makes the floor's calls too, right after the job.
    """
    for preparation in job.preparations:
        javascript.prepare(preparation)
        python.prepare(preparation)
    counted = [side.measure(job, key=f"{_slug(job)}-counted", count=True) for side in (javascript, python)]
    jobs_ms: list[tuple[float, float]] = []
    floors_ms: list[tuple[float, float]] = []
    for pair in range(pairs):
        order = (javascript, python) if pair % 2 == 0 else (python, javascript)
        key = f"{_slug(job)}-{pair}"
        job_ms = {side.name: side.measure(job, key=key).elapsed_ms for side in order}
        floor_ms = {side.name: side.measure(job.as_floor(), key="floor").elapsed_ms for side in order}
        jobs_ms.append((job_ms[javascript.name], job_ms[python.name]))
        floors_ms.append((floor_ms[javascript.name], floor_ms[python.name]))
    return Finding(
        job=job,
        comparison=compared(jobs_ms),
        over_floor=compared([(floor[1], own[1]) for floor, own in zip(floors_ms, jobs_ms, strict=True)]),
        javascript_floor_ms=tuple(javascript_ms for javascript_ms, _ in floors_ms),
        javascript_cost=counted[0].cost,
        python_cost=counted[1].cost,
    )


def run_growth(series: Sequence[Series]) -> tuple[list[Published], list[str]]:
    """Return the entries of the series, and the errors of series without an entry.

    Only the package is measured, in a Worker of its own.
    """
    with served("Python", "python_worker") as python:
        return _each(series, lambda each: each.name, lambda each: growth_entry(grow(each, python)))


def grow(series: Series, python: ServedWorker) -> Growth:
    """Measure each size once to warm up, then the sizes in turn."""
    for size, job in series.jobs:
        for preparation in job.preparations:
            python.prepare(preparation)
        python.measure(job, key=f"{_slug(job)}-{size}-first")
    rounds = [
        [python.measure(job, key=f"{_slug(job)}-{size}-{turn}").elapsed_ms for size, job in series.jobs]
        for turn in range(GROWTH_MEASUREMENTS)
    ]
    return Growth(series=series, times_ms=tuple(zip(*rounds, strict=True)))


def run_platform() -> list[Published]:
    """Return what the platform's own steps cost: an empty D1 batch, an empty call of an object, what Python needs to wait."""
    with both_served() as (javascript, python):
        entries = [
            _platform_entry(name, javascript_us=_step_us(javascript, job), python_us=_step_us(python, job))
            for name, job in EMPTY_CALLS.items()
        ]
        for step, name in PLATFORM_STEPS.items():
            python_us = _step_us(python, _platform_job(step)) / PLATFORM_TIMES
            entries.append(_platform_entry(name, javascript_us=None, python_us=python_us))
    return entries


def run_waiting(jobs: Sequence[Job]) -> tuple[list[Published], list[str]]:
    """Return how each job's time divides into waiting for D1, waiting for objects, and Python in the Worker.

    Not those with many tasks.
    """
    with served("Python", "python_worker") as python:
        alone = [job for job in jobs if job.kind not in MANY_AT_ONCE and "tuned" not in job.input]
        return _each(alone, lambda job: job.name, lambda job: _waiting_entry(job, python))


def _waiting_entry(job: Job, python: ServedWorker) -> Published:
    for preparation in job.preparations:
        python.prepare(preparation)
    rounds = [python.waiting(job, key=f"{_slug(job)}-waiting-{turn}") for turn in range(WAITING_MEASUREMENTS)]
    return {"name": job.name, **{part: median(each[part] for each in rounds) for part in rounds[0]}}


def _platform_job(step: str) -> Job:
    arguments = {"step": step, "times": PLATFORM_TIMES}
    return Job(name=step, kind="platform", repetitions=1, input=arguments, expected={}, floor=Floor())


def _platform_entry(name: str, *, javascript_us: float | None, python_us: float) -> Published:
    return {"name": name, "javascriptUs": javascript_us, "pythonUs": python_us}


def _step_us(worker: ServedWorker, job: Job) -> float:
    keys = [f"platform-{number}" for number in range(PLATFORM_MEASUREMENTS)]
    return median(worker.measure(job, key=key).elapsed_ms for key in keys) * 1_000


def _each(
    things: Sequence[T], name: Callable[[T], str], entry: Callable[[T], Published]
) -> tuple[list[Published], list[str]]:
    entries: list[Published] = []
    failures: list[str] = []
    for thing in things:
        print(f"bench: {name(thing)}", flush=True)
        try:
            entries.append(entry(thing))
        except (BenchError, ValueError) as error:
            failures.append(f"{name(thing)}: {error}")
    return entries, failures


def _slug(job: Job) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in job.name)
