"""The operations of the stores of pydantic-ai's harness."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, UserPromptPart
from pydantic_ai.usage import RequestUsage

from agents_store_cloudflare.adapters.pydantic_ai_harness import D1SpendStore, D1StepStore
from agents_store_cloudflare.usage import D1UsageStore
from tests.adapters.disturbed.worlds import AdapterWorld, by_others, op, role_of
from tests.adapters.pydantic_ai_harness import harness_types
from tests.adapters.pydantic_ai_harness.harness_types import (
    AT,
    ContinuableSnapshot,
    RunRecord,
    SpendEntry,
    Spent,
    StepEvent,
    ToolEffectRecord,
)
from tests.instruments.operations import NOW_MS, plain

__all__ = ["SPENDING", "STEPS"]


class Spending(AdapterWorld):
    """Two windows."""

    def client(self, database: Any) -> D1SpendStore[Spent]:
        return D1SpendStore("spend", database, spent=Spent, now_ms=lambda: NOW_MS)

    async def fill(self) -> None:
        await self.theirs.add_many([spent("day", "first"), spent("month", "first")])

    async def picture(self) -> str:
        return plain(await self.client(self.database).get_many(["day", "month", "new"]))

    async def probe(self, client: D1SpendStore[Spent]) -> None:
        await client.add_many([spent("probe", None)])


def spent(key: str, token: str | None) -> SpendEntry:
    return SpendEntry(key=key, usd=Decimal("0.25"), tokens=10, requests=1, token=token)


async def add(store: D1SpendStore[Spent], entries: list[SpendEntry]) -> object:
    return dict(await store.add_many(entries))


SPENDING = role_of(
    "spending",
    Spending,
    op("add", add, lambda: [spent("day", "mine"), spent("new", "mine")]),
    op("add without a token", add, lambda: [spent("day", None)]),
    op("add what was added", add, lambda: [spent("day", "first")]),
    by_others("add too", lambda store: store.add_many([spent("day", "theirs")])),
    by_others("add the same", lambda store: store.add_many([spent("day", "mine"), spent("new", "mine")])),
)


def history(count: int) -> list[ModelMessage]:
    """Return questions and answers in turn."""
    usage = RequestUsage(input_tokens=3, output_tokens=2)
    return [
        ModelResponse(parts=[TextPart(f"text {n}")], usage=usage, timestamp=AT, model_name="m")
        if n % 2
        else ModelRequest(parts=[UserPromptPart(f"text {n}", timestamp=AT)], timestamp=AT)
        for n in range(count)
    ]


def snapshot(number: int, count: int, key: str | None = None) -> ContinuableSnapshot:
    return ContinuableSnapshot(run_id="run", step_index=number, messages=history(count), idempotency_key=key)


def event(key: str | None = None) -> StepEvent:
    return StepEvent(run_id="run", kind="run_started", metadata={"a": "b"}, idempotency_key=key)


def effect(status: str = "started") -> ToolEffectRecord:
    return ToolEffectRecord(tool_call_id="c", tool_name="pay", run_id="run", status=status)


class Steps(AdapterWorld):
    """A run with an event, a snapshot and an effect."""

    def client(self, database: Any) -> D1StepStore:
        return D1StepStore("steps", database, types=harness_types, usage=True)

    async def fill(self) -> None:
        await self.theirs.register_run(RunRecord(run_id="run", metadata={"k": "v"}))
        await self.theirs.append_event(event("first"))
        await self.theirs.save_snapshot(snapshot(1, 2))
        await self.theirs.record_tool_effect(effect())

    async def picture(self) -> str:
        store = self.client(self.database)
        rollup = await D1UsageStore(self.database).get_rollup("steps")
        return plain(
            [
                await store.list_runs(),
                await store.list_events(run_id="run"),
                await store.list_snapshots(run_id="run", include_interrupted=True),
                await store.get_tool_effect(run_id="run", tool_call_id="c"),
                rollup.tokens.total,
            ]
        )

    async def probe(self, client: D1StepStore) -> None:
        await client.append_event(StepEvent(run_id="probe", kind="run_started"))


STEPS = role_of(
    "steps",
    Steps,
    op("a run", D1StepStore.register_run, lambda: RunRecord(run_id="new", metadata={"k": "v"})),
    op("an event", D1StepStore.append_event, lambda: event("mine")),
    op("an event without a key", D1StepStore.append_event, event),
    op("a snapshot", D1StepStore.save_snapshot, lambda: snapshot(2, 4, "2:a")),
    op("a snapshot without a key", D1StepStore.save_snapshot, lambda: snapshot(3, 5)),
    op("an effect", D1StepStore.record_tool_effect, lambda: effect("completed")),
    by_others("an event too", lambda store: store.append_event(event())),
    by_others("a snapshot too", lambda store: store.save_snapshot(snapshot(4, 3))),
    by_others("an effect too", lambda store: store.record_tool_effect(effect("failed"))),
)
