"""The stores of pydantic-ai's harness, with classes of the harness's shape."""

import asyncio
from decimal import Decimal
from typing import Any

import harness_types
from harness_types import AT, ContinuableSnapshot, RunRecord, SpendEntry, Spent, StepEvent, ToolEffectRecord
from pydantic_ai.messages import ModelRequest, UserPromptPart

from agents_store_cloudflare import D1UsageStore
from agents_store_cloudflare.adapters.pydantic_ai_harness import D1SpendStore, D1StepStore
from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.contract.errors import StaleFencingTokenError
from agents_store_cloudflare.metering.meter import MeteredDatabase, OpenMeters

__all__ = ["spend", "steps"]

WORKERS = 4


async def spend(database: Any) -> object:
    """Count responses of several stores at once, some of them twice. Then let an old holder of a lock count."""
    stores = [D1SpendStore("spend", database, spent=Spent) for _ in range(WORKERS)]

    def response(number: int) -> list[SpendEntry]:
        return [SpendEntry(key=key, usd=Decimal("0.1"), requests=1, token=f"r{number}") for key in ("day", "month")]

    await asyncio.gather(*(stores[number % WORKERS].add_many(response(number // 2)) for number in range(24)))
    told = await stores[0].get_many(["day", "month", "year"])
    await D1SpendStore("spend", database, spent=Spent, fencing_token=4).add_many(response(0))
    outcomes: list[object] = [[str(each.usd), each.requests] for each in told.values()]
    await D1SpendStore("spend", database, spent=Spent, fencing_token=4).add_many(response(98))
    try:
        await D1SpendStore("spend", database, spent=Spent, fencing_token=3).add_many(response(99))
    except StaleFencingTokenError as error:
        outcomes.append([error.expected, error.actual])
    return outcomes


async def steps(database: Any) -> object:
    """Store the steps of a run, read them in another store, and let an old holder of a lock write."""
    meters = OpenMeters()
    metered = MeteredDatabase(as_database(database), meters)
    store = D1StepStore("steps", metered, types=harness_types, fencing_token=4, usage=True)
    run = RunRecord(run_id="run", conversation_id="ada", metadata={"n": "é"})
    event = StepEvent(run_id="run", kind="run_started", idempotency_key="k")
    history = [ModelRequest(parts=[UserPromptPart(f"“{number}”", timestamp=AT)]) for number in range(40)]
    taken = [
        ContinuableSnapshot(
            run_id="run", step_index=count, messages=list(history[:count]), idempotency_key=f"{count}:x"
        )
        for count in (20, 40)
    ]
    effect = ToolEffectRecord(tool_call_id="c", tool_name="pay", run_id="run", status="started")
    await store.register_run(run)

    async def write(snapshot: ContinuableSnapshot) -> list[int | None]:
        with meters.open() as meter:
            await store.append_event(event)
            await store.save_snapshot(snapshot)
            await store.record_tool_effect(effect)
        return [meter.d1.round_trips, meter.d1.rows_written]

    await write(taken[0])
    again = await write(taken[1])
    other = D1StepStore("steps", database, types=harness_types)
    found = [
        await other.list_runs(conversation_id="ada") == [run],
        await other.list_events(run_id="run") == [event],
        await other.list_snapshots(run_id="run") == taken,
        await other.list_unresolved_tool_effects(run_id="run") == [effect],
    ]
    try:
        await D1StepStore("steps", database, types=harness_types, fencing_token=3).append_event(event)
        await D1StepStore("steps", database, types=harness_types, fencing_token=3).save_snapshot(
            ContinuableSnapshot(run_id="run", step_index=9, messages=[])
        )
    except StaleFencingTokenError as error:
        found.append([error.expected, error.actual] == [4, 3])
    assert (await D1UsageStore(database).get_rollup("steps")).tokens.total == 0
    return {"found": found, "again": again}
