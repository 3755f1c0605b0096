"""Each side's jobs behind network delays, in turns; from the slope, how often each waits in a row."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import product
from statistics import linear_regression, median
from typing import Any, TypeAlias

from bench.findings import Published
from bench.jobs import TABLES
from bench.peers.chat import JOBS, MODEL_MS, JobName
from bench.peers.sides import SIDES, Side
from bench.peers.stored import stored_bytes
from bench.workers import BenchError, ServedWorker, difference
from tools.local_runtime import LocalRuntime

__all__ = ["DELAYS_MS", "Costs", "Times", "latency_entry", "run_latency", "waits_in_a_row"]

Times: TypeAlias = dict[tuple[JobName, int], list[float]]
Costs: TypeAlias = Mapping[JobName, Mapping[str, float]]

DELAYS_MS = (0, 5, 20, 50)
SEED = 1
STORES = ("chat_turn", "chat_history")
"""The jobs whose sessions are weighed: the others read, or end within a turn."""

WEIGHED = 8
"""Sessions of each such job: D1 grows by whole pages."""


def run_latency(rounds: int, sides: Sequence[Side] = SIDES) -> tuple[list[Published], list[str]]:
    """Every side's figures. With a failure there are none: a table without a side would mislead.

    Args:
        rounds: how often each side does each job at each delay. The sides take turns.
    """
    with ExitStack() as stack:
        runtimes = {side.name: _runtime(side, stack) for side in sides}
        served = {name: ServedWorker(name, runtime.url) for name, runtime in runtimes.items()}
        try:
            for worker in served.values():
                worker.prepare(TABLES)
            costs = {side.name: _costs(side, served[side.name], runtimes[side.name]) for side in sides}
            times = _measured(sides, served, rounds)
        except BenchError as error:
            return [], [str(error)]
    return [latency_entry(side, times[side.name], costs[side.name]) for side in sides], []


def _runtime(side: Side, stack: ExitStack) -> LocalRuntime:
    print(f"bench: {side.name}", flush=True)
    return stack.enter_context(LocalRuntime(side.config()))


def _measured(sides: Sequence[Side], served: Mapping[str, ServedWorker], rounds: int) -> dict[str, Times]:
    """The times of each side. Every job at every delay goes through all sides before the next, the other way round each time."""
    times: dict[str, Times] = {side.name: {} for side in sides}
    for turn, job, delay_ms in product(range(rounds), JOBS, DELAYS_MS):
        print(f"bench: {JOBS[job]}, {delay_ms} ms, round {turn + 1} of {rounds}", flush=True)
        for side in sides if turn % 2 == 0 else reversed(sides):
            if job not in side.jobs:
                continue
            found = _timed(side, served[side.name], job, delay_ms, turn)
            times[side.name].setdefault((job, delay_ms), []).append(found)
    return times


def _costs(side: Side, worker: ServedWorker, runtime: LocalRuntime) -> Costs:
    """What each job costs. Its time is not used: counting takes time of its own."""
    print(f"bench: costs of {side.name}", flush=True)
    return {
        job: {**_counted(side, worker, job, "counted"), **_weighed(side, worker, runtime, job)} for job in side.jobs
    }


def _weighed(side: Side, worker: ServedWorker, runtime: LocalRuntime, job: JobName) -> Mapping[str, float]:
    """What a session with the job's work holds on disk."""
    if job not in STORES:
        return {}
    before = stored_bytes(runtime.persist())
    for number in range(WEIGHED):
        _counted(side, worker, job, f"weighed-{number}")
    return {"storedBytes": (stored_bytes(runtime.persist()) - before) / WEIGHED}


def _counted(side: Side, worker: ServedWorker, job: JobName, key: str) -> Mapping[str, float]:
    answer = worker.ask_for(_order(side, job, key=_key(job, key), delay_ms=0, seed=SEED, counted=True))
    _check(side, job, answer["result"])
    cost: Mapping[str, float] = answer["cost"]
    return cost


def _timed(side: Side, worker: ServedWorker, job: JobName, delay_ms: int, turn: int) -> float:
    key = _key(job, f"{delay_ms}-{turn}")
    order = _order(side, job, key=key, delay_ms=delay_ms, seed=SEED + turn, counted=False)
    answer = worker.ask_for(order)
    _check(side, job, answer["result"])
    return float(answer["elapsedMs"])


def _key(job: JobName, key: str) -> str:
    """The session. The long history is made once, and only read."""
    return job if job == "chat_page" else f"{job}-{key}"


def _order(side: Side, job: JobName, *, key: str, delay_ms: int, seed: int, counted: bool) -> dict[str, Any]:
    chat = replace(side.chat, counted=counted)
    name = f"{'homes-' if chat.homes else ''}{key}"
    return {"job": job, "key": name, "delays": {"ms": delay_ms, "seed": seed}, "input": chat.input()}


def _check(side: Side, job: JobName, result: Mapping[str, Any]) -> None:
    wanted = side.result(job)
    if json.loads(json.dumps(wanted)) != result:
        raise BenchError(f"{side.name}: {JOBS[job]}: {difference(wanted, result)}")


def latency_entry(side: Side, times_ms: Times, costs: Costs) -> Published:
    """One side, as a published run has it. The turn's times are without the model's own."""
    jobs: dict[str, Published] = {}
    for job in side.jobs:
        own = {
            delay_ms: [each - (MODEL_MS if job == "chat_turn" else 0) for each in times_ms[job, delay_ms]]
            for delay_ms in DELAYS_MS
        }
        jobs[job] = {
            "medianMs": {str(delay_ms): median(found) for delay_ms, found in own.items()},
            "timesMs": {str(delay_ms): list(found) for delay_ms, found in own.items()},
            "waitsInARow": waits_in_a_row(own),
            "cost": dict(costs[job]),
        }
    return {"name": side.name, "note": side.note, "jobs": jobs}


def waits_in_a_row(times_ms: Mapping[int, Sequence[float]]) -> float:
    """The slope of time over delay: how many delays lie one behind the other.

    Args:
        times_ms: the times in milliseconds, by the delay in milliseconds. The median of each delay counts.
    """
    delays = list(times_ms)
    return linear_regression(delays, [median(times_ms[delay_ms]) for delay_ms in delays]).slope
