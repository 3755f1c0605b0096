"""The parts of a job's time in Python: the border to JavaScript, JSON, the checksum of the messages, the package, the event loop.

The Worker profiles itself (python_worker/profiled.py). The number of Python calls comes from `python_calls`, on CPython.
"""

from collections.abc import Mapping
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

WARM_UP = "warm"
FLUSHES = 20
PROFILED: Mapping[str, tuple[Job, int]] = {
    "save, 1 new message": (save_job(added=1, repetitions=40), 1),
    "save, 20 new messages": (save_job(added=20, repetitions=20), 1),
    "load 200 messages of 1 KB": (load_job(count=200, repetitions=20), 1),
    "page of 50, the first": (page_job("page", count=12_000, offset=0, repetitions=40), 1),
    "stream: a flush of 50 chunks": (write_job(count=50 * FLUSHES, flush_chunks=50, repetitions=3), FLUSHES),
    "stream: replay 1,000 chunks": (replay_job(count=1_000, repetitions=20), 1),
}
"""Each job with its name in `python_calls`, and how often one repetition does the named work."""


def run_shares() -> list[Published]:
    """Every profiled job, in one Worker."""
    entries: list[Published] = []
    with served("Python", "python_worker") as python:
        for name, (job, times) in PROFILED.items():
            print(f"bench: profile of {name}", flush=True)
            for preparation in job.preparations:
                python.prepare(preparation)
            python.profile(job, key=f"{WARM_UP}-{job.kind}-{name}")
            rounds = [python.profile(job, key=f"profile-{turn}-{job.kind}-{name}") for turn in range(ROUNDS)]
            entries.append(shares_entry(name, rounds, times))
    return entries


def shares_entry(name: str, rounds: list[dict[str, float]], times: int = 1) -> Published:
    """One job, as a published run has it: the mean of each part in milliseconds, and the Python calls.

    Args:
        name: a key of `CALL_JOBS`.
        rounds: the milliseconds of one repetition in each round, by part; "elapsed" is the whole.
        times: how often one repetition does the named work.
    """
    means = {part: fmean(each[part] for each in rounds) / times for part in rounds[0]}
    elapsed_ms = means.pop("elapsed")
    return {"name": name, "elapsedMs": elapsed_ms, "partsMs": means, "calls": calls_of(name).total()}
