"""What the bench's Workers do for the host that compares them: make tables, and run one job behind delays."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from delays import Delays
from js import performance
from workers import Request, Response

__all__ = ["Job", "answered", "behind_delays", "make_tables"]


class Job(Protocol):
    """One job on one session. Its bindings are behind the delays."""

    async def set_up(self) -> None:
        """Store what the job begins with. It is not timed."""

    async def once(self) -> None:
        """Do what is timed."""

    async def costs(self) -> Mapping[str, float]:
        """Return what was counted so far, by name."""
        raise NotImplementedError

    async def read_back(self) -> object:
        """Return what is stored, and what was read."""
        raise NotImplementedError


async def answered(
    request: Request, *, prepare: Callable[[], Awaitable[object]], job: Callable[[dict[str, Any], Delays], Job]
) -> Response:
    """GET: the Worker is there. POST {"prepare"}: make the tables. POST {"job", "delays", …}: run the job.

    Args:
        job: makes the job of an order.
    """
    if request.method != "POST":
        return Response("ready")
    order = json.loads(await request.text())
    if "prepare" in order:
        await prepare()
        return Response("{}")
    delays = Delays(**order["delays"])
    return Response(json.dumps(await behind_delays(job(order, delays), delays)))


async def behind_delays(job: Job, delays: Delays) -> dict[str, object]:
    """Return the time of the job, what was counted meanwhile, and what it has stored and read."""
    await job.set_up()
    before = await job.costs()
    delays.begun = True
    started_ms = performance.now()
    await job.once()
    elapsed_ms = performance.now() - started_ms
    delays.begun = False
    cost = {name: count - before[name] for name, count in (await job.costs()).items()}
    return {"elapsedMs": elapsed_ms, "cost": cost, "result": await job.read_back()}


async def make_tables(db: Any, schema: Sequence[str]) -> None:
    """Run each statement of a schema."""
    for statement in schema:
        await db.prepare(statement).run()
