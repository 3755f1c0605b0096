"""The Python side of the bench. It uses this package as the documentation shows it.

POST {"job" or "prepare", "key", "repetitions", "count", "input"}; bench/workers.py describes the answer. The stores are made anew
in every repetition, as in every request of a real Worker.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from bare_object import BARE_JOBS, Bare
from bench_job import Job, now_ms
from chat_jobs import CHAT_JOBS
from delayed import DelayedBindings
from delays import Delays
from door import behind_delays
from floor_jobs import FLOORS, Idle
from home_jobs import HOME_JOBS, prepare_placed_session
from live_jobs import LIVE_JOBS
from lock_jobs import LOCK_JOBS
from platform_jobs import PLATFORM_JOBS
from profiled import profiled
from raw_jobs import RAW_JOBS
from state_jobs import STATE_JOBS, prepare_session, prepare_tables
from step_jobs import STEP_JOBS
from stream_jobs import STREAM_JOBS, prepare_stream
from usage_jobs import USAGE_JOBS, prepare_usage
from waiting import TimedBindings
from workers import Request, Response, WorkerEntrypoint, fetch

from agents_store_cloudflare import LockServer, SessionServer, StreamServer
from agents_store_cloudflare.database import BatchCost

__all__ = ["Bare", "Default", "Idle", "LockServer", "SessionServer", "StreamServer"]

Prepare: TypeAlias = Callable[[Any, Mapping[str, Any]], Awaitable[None]]

JOBS: Mapping[str, type[Job]] = {
    **BARE_JOBS,
    **FLOORS,
    **HOME_JOBS,
    **LIVE_JOBS,
    **LOCK_JOBS,
    **PLATFORM_JOBS,
    **RAW_JOBS,
    **STATE_JOBS,
    **STEP_JOBS,
    **STREAM_JOBS,
    **USAGE_JOBS,
}
PREPARATIONS: Mapping[str, Prepare] = {
    "tables": prepare_tables,
    "session": prepare_session,
    "placed session": prepare_placed_session,
    "stream": prepare_stream,
    "usage": prepare_usage,
}


class Default(WorkerEntrypoint):
    """Answers the requests of the host."""

    env: Any

    async def fetch(self, request: Request) -> Response:
        """Prepare the data of the jobs, or run one job."""
        if request.method != "POST":
            return Response("ready")
        order = json.loads(await request.text())
        if "prepare" in order:
            await PREPARATIONS[order["prepare"]](self.env, order["input"])
            return Response("{}")
        measure = chat if order["job"] in CHAT_JOBS else MEASURES[order.get("measure", "run")]
        return Response(json.dumps(await measure(self.env, order)))


async def run(env: Any, order: Mapping[str, Any]) -> object:
    """Time one job's repetitions, then read back its result."""
    costs: list[BatchCost] = []
    observer = costs.append if order["count"] else None
    job = JOBS[order["job"]](env=env, key=order["key"], input=order["input"], observer=observer)
    await job.set_up()
    measure = timed_each if job.has_before_each else timed
    if "marks" in order:
        await fetch(order["marks"])
    elapsed_ms = await measure(job, order["repetitions"])
    if "marks" in order:
        await fetch(order["marks"])
    return {
        "elapsedMs": elapsed_ms,
        "cost": total(costs) if order["count"] else None,
        "result": await job.read_back(),
    }


async def waiting(env: Any, order: Mapping[str, Any]) -> object:
    """Return one job's time, and the part of it that was waiting for the platform."""
    bindings = TimedBindings.of(env)
    job = JOBS[order["job"]](env=bindings, key=order["key"], input=order["input"])
    await job.set_up()
    before, elapsed_ms = bindings.waited(), 0.0
    waited = dict.fromkeys(before, 0.0)
    for _ in range(order["repetitions"]):
        await job.before_each()
        before, started_ms = bindings.waited(), now_ms()
        await job.once()
        elapsed_ms += now_ms() - started_ms
        waited = {name: waited[name] + ms - before[name] for name, ms in bindings.waited().items()}
    return {"elapsedMs": elapsed_ms, **waited, **job.counts()}


async def profile(env: Any, order: Mapping[str, Any]) -> object:
    """Return one job's time in its parts, under a profile."""
    job = JOBS[order["job"]](env=env, key=order["key"], input=order["input"])
    await job.set_up()
    return await profiled(job, order["repetitions"])


async def chat(env: Any, order: Mapping[str, Any]) -> object:
    """Time a chat's job once, behind delays."""
    delays = Delays(**order["delays"])
    job = CHAT_JOBS[order["job"]](env=DelayedBindings.of(env, delays), key=order["key"], input=order["input"])
    return await behind_delays(job, delays)


MEASURES: Mapping[str, Callable[[Any, Mapping[str, Any]], Awaitable[object]]] = {
    "run": run,
    "waiting": waiting,
    "profile": profile,
}


async def timed(job: Job, repetitions: int) -> float:
    """Return the time of all repetitions."""
    started_ms = now_ms()
    for _ in range(repetitions):
        await job.once()
    return now_ms() - started_ms


async def timed_each(job: Job, repetitions: int) -> float:
    """Return the time of all repetitions, without `before_each`."""
    elapsed_ms = 0.0
    for _ in range(repetitions):
        await job.before_each()
        started_ms = now_ms()
        await job.once()
        elapsed_ms += now_ms() - started_ms
    return elapsed_ms


def total(costs: list[BatchCost]) -> object:
    """Return the costs of all batches."""
    return {
        "batches": len(costs),
        "rowsRead": sum(cost.rows_read for cost in costs),
        "rowsWritten": sum(cost.rows_written for cost in costs),
    }
