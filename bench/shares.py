"""The parts of a job's time in Python: the border to JavaScript, JSON, the checksum of the messages, the package, the event loop.

The Worker profiles itself (python_worker/profiled.py). The number of Python calls comes from `python_calls`, on CPython. In the same
rounds a bare Python Worker sends the same statements and calls without the package (python_worker/raw_jobs.py): that is the floor.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from bench.findings import Published
from bench.jobs import Job
from bench.jobs.state import load_job, page_job, save_job
from bench.jobs.streams import replay_job, write_job
from bench.python_calls import calls_of
from bench.workers import ServedWorker, both_served

__all__ = ["PROFILED", "Rounds", "run_shares", "shares_entry"]

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """The measurements of one job, each of one repetition in milliseconds.

    Attributes:
        plain: without the profile: "elapsedMs", and what of it was waiting.
        bare: the same without the package, with the counts of what it sends.
        javascript_ms: the job in JavaScript.
        profiles: under the profile, by part; "elapsed" is the whole.
    """

    plain: list[dict[str, float]] = field(default_factory=list[dict[str, float]])
    bare: list[dict[str, float]] = field(default_factory=list[dict[str, float]])
    javascript_ms: list[float] = field(default_factory=list[float])
    profiles: list[dict[str, float]] = field(default_factory=list[dict[str, float]])


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


def run_shares(rounds: int) -> list[Published]:
    """Every profiled job: the package with and without the profile, the bare Worker and JavaScript, in turns.

    Args:
        rounds: the Workers' clock ticks every millisecond, so a part of 0.1 ms in 40 repetitions needs 20 of them.
    """
    with both_served() as (javascript, python):
        return [_profiled(name, javascript, python, rounds) for name in PROFILED]


def _profiled(name: str, javascript: ServedWorker, python: ServedWorker, rounds: int) -> Published:
    print(f"bench: profile of {name}", flush=True)
    job = PROFILED[name].job
    bare = replace(job, kind="raw", input={**job.input, "twin": job.kind, "times": job.repetitions})
    for side in (javascript, python):
        for preparation in job.preparations:
            side.prepare(preparation)
    python.profile(job, key=f"warm-{job.kind}-{name}")
    python.measure(bare, key=f"warm-bare-{name}")
    found = Rounds()
    for turn in range(rounds):
        measures: list[Callable[[str], None]] = [
            lambda key: found.plain.append(python.waiting(job, key=f"plain-{key}")),
            lambda key: found.bare.append(python.waiting(bare, key=f"bare-{key}")),
            lambda key: found.javascript_ms.append(javascript.measure(job, key=f"javascript-{key}").elapsed_ms),
        ]
        for measure in measures if turn % 2 == 0 else reversed(measures):
            measure(f"{turn}-{job.kind}-{name}")
        found.profiles.append(python.profile(job, key=f"profile-{turn}-{job.kind}-{name}"))
    return shares_entry(name, found)


def shares_entry(name: str, rounds: Rounds) -> Published:
    """One job, as a published run has it: the mean of each part in milliseconds, the Python calls, and the floor.

    Args:
        name: a key of `PROFILED`.
        rounds: the measurements of this job.
    """
    profiled = PROFILED[name]
    means = {part: fmean(each[part] for each in rounds.profiles) / profiled.times for part in rounds.profiles[0]}
    elapsed_ms = means.pop("elapsed")
    return {
        "name": name,
        "pythonMs": _python_ms(rounds.plain) / profiled.times,
        "wholeMs": _mean(rounds.plain, "elapsedMs") / profiled.times,
        "mostMs": profiled.most_ms,
        "elapsedMs": elapsed_ms,
        "partsMs": means,
        "calls": calls_of(name).total(),
        "bare": {
            "pythonMs": _python_ms(rounds.bare) / profiled.times,
            "wholeMs": _mean(rounds.bare, "elapsedMs") / profiled.times,
            **{count: _mean(rounds.bare, count) / profiled.times for count in ("batches", "statements", "calls")},
        },
        "javascriptMs": fmean(rounds.javascript_ms) / profiled.times,
    }


def _python_ms(divided: Sequence[Mapping[str, float]]) -> float:
    return fmean(each["elapsedMs"] - each["d1Ms"] - each["objectsMs"] for each in divided)


def _mean(divided: Sequence[Mapping[str, float]], part: str) -> float:
    return fmean(each[part] for each in divided)
