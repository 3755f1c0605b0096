"""`D1SpendStore` and `D1StepStore` beside the harness's own stores in memory, and in an agent. Runs in an environment of its own."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib.metadata import version
from typing import Any

os.environ["PYDANTIC_AI_NO_BANNER"] = "1"

from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, UserPromptPart
from pydantic_ai.models.test import TestModel
from pydantic_ai_harness import step_persistence
from pydantic_ai_harness.spend import BatchSpendStore, Budget, InMemorySpendStore, SpendEntry, SpendLimits, Spent
from pydantic_ai_harness.step_persistence import (
    ContinuableSnapshot,
    InMemoryStepStore,
    RunRecord,
    StepEvent,
    StepPersistence,
    StepStore,
    ToolEffectRecord,
    continue_run,
)

from agents_store_cloudflare.adapters.pydantic_ai_harness import D1SpendStore, D1StepStore
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.testing import SqliteDatabase

SEEDS, CALLS = 2, 150
START = datetime(2026, 11, 27, tzinfo=UTC)
BRANCH_ODDS = 0.1


class Time:
    """A clock for both stores."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def ms(self) -> int:
        return (self.now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


class Compared:
    """The same calls to two stores."""

    def __init__(self, *stores: Any) -> None:
        self.stores = stores
        self.calls = 0

    async def __call__(self, call: Callable[[Any], Awaitable[Any]]) -> Any:
        first, second = [await call(store) for store in self.stores]
        self.calls += 1
        assert first == second, (first, second)
        return first


async def spends(seed: int) -> int:
    """Random responses, repetitions and corrections, while time passes."""
    dice, time, database = random.Random(seed), Time(), await migrated()
    ours = [D1SpendStore("spend", database, spent=Spent, now_ms=time.ms) for _ in range(2)]
    theirs = InMemorySpendStore(clock=time)
    assert all(isinstance(store, BatchSpendStore) for store in ours)
    both = [Compared(theirs, each) for each in ours]
    keys = [f"window {number}" for number in range(5)]
    for number in range(CALLS):
        time.now += timedelta(seconds=dice.choice([0, 1, 60, 1_000]))
        token = dice.choice([None, f"token {dice.randrange(number + 1)}"])
        entries = [
            SpendEntry(
                key=key,
                usd=Decimal(dice.randrange(-1_000, 10**9)) / 10**9,
                tokens=dice.randrange(10_000),
                requests=1,
                unpriced=dice.randrange(2),
                ttl=dice.choice([None, timedelta(minutes=5), timedelta(days=1)]),
                token=token,
            )
            for key in dice.choices(keys, k=dice.randrange(1, 4))
        ]
        compared = dice.choice(both)
        await compared(lambda store, added=entries: store.add_many(added))
        await compared(lambda store: store.get_many(keys))
    return sum(each.calls for each in both)


async def steps(seed: int) -> int:
    """Random runs, events, snapshots and effects, many of them twice, and every read."""
    dice, database = random.Random(seed), await migrated()
    ours = [D1StepStore("steps", database, types=step_persistence) for _ in range(2)]
    theirs = InMemoryStepStore()
    assert all(isinstance(store, StepStore) for store in ours)
    both = [Compared(theirs, each) for each in ours]
    runs: list[str] = []
    history: list[ModelMessage] = []
    for number in range(CALLS):
        compared, at = dice.choice(both), START + timedelta(seconds=dice.randrange(1_000))
        if not runs or dice.random() < BRANCH_ODDS:
            runs.append(f"run-{number}")
            parent, conversation = dice.choice([None, *runs[:-1]]), dice.choice([None, "a", "b"])
            record = RunRecord(
                run_id=runs[-1], conversation_id=conversation, parent_run_id=parent, started_at=at, metadata={"n": "é"}
            )
            await compared(lambda store, run=record: store.register_run(run))
        run_id, key = (
            dice.choice(runs),
            dice.choice([None, f"{dice.randrange(number + 1)}:x", f"key {dice.randrange(9)}"]),
        )
        history = grown(dice, history, at)
        await compared(written(dice, run_id, number, history=history, at=at, key=key))
        for read in (
            lambda store, own=run_id: store.get_run(run_id=own),
            lambda store, own=run_id: store.list_events(run_id=own),
            lambda store, own=run_id: store.latest_snapshot(run_id=own, include_interrupted=True),
            lambda store, own=run_id: store.list_snapshots(run_id=own),
            lambda store, own=run_id: store.get_tool_effect(run_id=own, tool_call_id="call 1"),
            lambda store, own=run_id: store.list_unresolved_tool_effects(run_id=own),
            lambda store: store.list_runs(conversation_id="a"),
        ):
            await compared(read)
    return sum(each.calls for each in both)


def written(
    dice: random.Random, run_id: str, number: int, *, history: list[ModelMessage], at: datetime, key: str | None
) -> Callable[[Any], Awaitable[Any]]:
    """Return a random write of a run, for both stores."""
    event = StepEvent(run_id=run_id, kind="run_started", step_index=number, timestamp=at, idempotency_key=key)
    state = dice.choice(["complete", "interrupted"])
    snapshot = ContinuableSnapshot(
        run_id=run_id, step_index=number, messages=history, timestamp=at, state=state, idempotency_key=key
    )
    call_id, status = f"call {dice.randrange(5)}", dice.choice(["started", "completed", "failed"])
    effect = ToolEffectRecord(tool_call_id=call_id, tool_name="t", run_id=run_id, status=status, started_at=at)
    calls: list[Callable[[Any], Awaitable[Any]]] = [
        lambda store: store.append_event(event),
        lambda store: store.save_snapshot(snapshot),
        lambda store: store.record_tool_effect(effect),
    ]
    return dice.choice(calls)


def grown(dice: random.Random, history: list[ModelMessage], at: datetime) -> list[ModelMessage]:
    """Return a history that goes on, or one that begins to differ somewhere."""
    text = f"text {dice.random()}"
    kept = history[: dice.randrange(len(history) + 1)] if dice.random() < BRANCH_ODDS else history
    return [
        *kept,
        ModelRequest(parts=[UserPromptPart(text, timestamp=at)]),
        ModelResponse(parts=[TextPart(text)], timestamp=at),
    ]


async def agent() -> int:
    """An agent runs with both stores; another Worker continues its run and meets its budget."""
    database = await migrated()

    def made() -> Agent[None, str]:
        limits = SpendLimits(
            budgets=[Budget(name="all", window="total", tokens=10_000)],
            store=D1SpendStore("spend", database, spent=Spent),
        )
        kept = StepPersistence(store=D1StepStore("ada/steps", database, types=step_persistence))
        agent: Agent[None, str] = Agent(TestModel(), capabilities=[limits, kept])

        @agent.tool_plain
        def look_up(word: str) -> str:
            return word

        return agent

    first = await made().run("hello", conversation_id="ada")
    store = D1StepStore("ada/steps", database, types=step_persistence)
    [run] = await store.list_runs(conversation_id="ada")
    assert await store.list_unresolved_tool_effects(run_id=run.run_id) == []
    assert len(await store.list_events(run_id=run.run_id)) > 0
    continued = await continue_run(store, run_id=run.run_id)
    assert continued == first.all_messages()
    await made().run("and again", conversation_id="ada", message_history=continued)
    assert len(await store.list_runs(conversation_id="ada")) == 2
    return len(await store.list_snapshots(run_id=run.run_id))


async def migrated() -> SqliteDatabase:
    database = SqliteDatabase()
    await run_migration(database)
    return database


async def main() -> int:
    spend_calls = sum([await spends(seed) for seed in range(SEEDS)])
    step_calls = sum([await steps(seed) for seed in range(SEEDS)])
    snapshots = await agent()
    print(
        f"conformance: pydantic-ai-harness {version('pydantic-ai-harness')} on pydantic-ai {version('pydantic-ai-slim')}, sqlite: "
        f"{spend_calls:,} calls of the spend store and {step_calls:,} of the step store as in memory; an agent of two runs, "
        f"{snapshots} snapshots of the first",
        flush=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
