"""The parts of a job's time in Python: the border to JavaScript, JSON, the checksum of the messages, the package, the event loop.

The Worker profiles itself (python_worker/profiled.py). The number of Python calls comes from `python_calls`, on CPython.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from bench.findings import Published
from bench.jobs import Job
from bench.jobs.state import load_job, page_job, save_job
from bench.jobs.streams import replay_job, write_job
from bench.python_calls import calls_of
from bench.workers import served

__all__ = ["PROFILED", "run_shares", "shares_entry"]

ROUNDS = 20
"""The Workers' clock ticks every millisecond: a part of 0.1 ms in 40 repetitions needs some rounds."""

FLUSHES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiled:
    """A job that is profiled.

    Attributes:
        job: as the Worker does it.
        most_ms: the target for Python's time without the profile: two thirds of the time on 23 November 2026.
        times: how often one repetition does the named work.
    """

    job: Job
    most_ms: float
    times: int = 1


PROFILED: Mapping[str, Profiled] = {
    "save, 1 new message": Profiled(job=save_job(added=1, repetitions=40), most_ms=0.27),
    "save, 20 new messages": Profiled(job=save_job(added=20, repetitions=20), most_ms=0.40),
    "load 200 messages of 1 KB": Profiled(job=load_job(count=200, repetitions=20), most_ms=1.07),
    "page of 50, the first": Profiled(job=page_job("page", count=12_000, offset=0, repetitions=40), most_ms=0.13),
    "stream: a flush of 50 chunks": Profiled(
        job=write_job(count=50 * FLUSHES, flush_chunks=50, repetitions=3), most_ms=0.43, times=FLUSHES
    ),
    "stream: replay 1,000 chunks": Profiled(job=replay_job(count=1_000, repetitions=20), most_ms=1.53),
}
"""Each job under its name in `python_calls`."""


def run_shares() -> list[Published]:
    """Every profiled job, in one Worker: rounds without the profile and with it, in turns."""
    entries: list[Published] = []
    with served("Python", "python_worker") as python:
        for name, profiled in PROFILED.items():
            job = profiled.job
            print(f"bench: profile of {name}", flush=True)
            for preparation in job.preparations:
                python.prepare(preparation)
            python.profile(job, key=f"warm-{job.kind}-{name}")
            plain: list[dict[str, float]] = []
            rounds: list[dict[str, float]] = []
            for turn in range(ROUNDS):
                plain.append(python.waiting(job, key=f"plain-{turn}-{job.kind}-{name}"))
                rounds.append(python.profile(job, key=f"profile-{turn}-{job.kind}-{name}"))
            entries.append(shares_entry(name, plain, rounds))
    return entries


def shares_entry(name: str, plain: list[dict[str, float]], rounds: list[dict[str, float]]) -> Published:
    """One job, as a published run has it: the mean of each part in milliseconds, and the Python calls.

    Args:
        name: a key of `PROFILED`.
        plain: the milliseconds of one repetition in each round without the profile: "elapsedMs", and what of it was waiting.
        rounds: the milliseconds of one repetition in each round under the profile, by part; "elapsed" is the whole.
    """
    profiled = PROFILED[name]
    means = {part: fmean(each[part] for each in rounds) / profiled.times for part in rounds[0]}
    elapsed_ms = means.pop("elapsed")
    own = [each["elapsedMs"] - each["d1Ms"] - each["objectsMs"] for each in plain]
    return {
        "name": name,
        "pythonMs": fmean(own) / profiled.times,
        "mostMs": profiled.most_ms,
        "elapsedMs": elapsed_ms,
        "partsMs": means,
        "calls": calls_of(name).total(),
    }
