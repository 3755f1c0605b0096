"""Random calls give what pydantic-ai's own store in memory gives."""

import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic_ai.conversation_store import (
    ConversationConflict,
    ConversationEntry,
    ConversationRecord,
    ConversationStore,
    InMemoryConversationStore,
)
from pydantic_ai.messages import (
    BinaryContent,
    ImageUrl,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.tools import DeferredToolRequests
from pydantic_ai.usage import RequestUsage, RunUsage

from agents_store_cloudflare.adapters.pydantic_ai import D1ConversationStore
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.testing import SqliteDatabase

SEEDS = range(40 if os.environ.get("SOAK") else 8)
CALLS = 1_500
START = datetime(2026, 11, 26, tzinfo=UTC)


class World:
    """Both stores, and the ids that exist, so that most calls mean something."""

    def __init__(self, database: SqliteDatabase, seed: int) -> None:
        self.random = random.Random(seed)
        self.ours = D1ConversationStore(database)
        self.memory = InMemoryConversationStore()
        self.calls = self.refused = self.made = 0
        self.gone: list[ConversationRecord] = []
        self.entries: list[str] = []

    def new_id(self, kind: str) -> str:
        self.made += 1
        return f"{kind}-{self.random.randrange(10**9)}-{self.made}"

    async def both(self, call: Callable[[ConversationStore], Awaitable[Any]]) -> Any:
        """Make a call to both stores, and compare the results or refusals."""
        self.calls += 1
        outcomes: list[Any] = []
        for store in (self.memory, self.ours):
            try:
                outcomes.append(await call(store))
            except (ConversationConflict, KeyError) as error:
                outcomes.append((type(error), getattr(error, "conversation_id", None)))
        assert outcomes[0] == outcomes[1]
        self.refused += isinstance(outcomes[0], tuple)
        return None if isinstance(outcomes[0], tuple) else outcomes[0]

    async def stored(self) -> ConversationRecord | None:
        records = list(await self.memory.read_records())
        return self.random.choice(records) if records else None

    def message(self) -> ModelMessage:
        pick, text = self.random.randrange(6), f"text {self.made} “é” \t\x00 {'x' * self.random.randrange(50)}"
        match pick:
            case 0:
                return ModelRequest(parts=[SystemPromptPart(text), UserPromptPart(text)], instructions="be brief")
            case 1:
                usage = RequestUsage(input_tokens=self.made, output_tokens=2, details={"reasoning_tokens": 1})
                return ModelResponse(parts=[ThinkingPart(text), TextPart(text)], usage=usage, model_name="m")
            case 2:
                return ModelResponse(parts=[ToolCallPart("look", {"q": [1, 2.5, None, {"ü": True}]}, f"c{self.made}")])
            case 3:
                return ModelRequest(parts=[ToolReturnPart("look", {"found": [text]}, f"c{self.made}")])
            case 4:
                document = BinaryContent(self.random.randbytes(20), media_type="application/pdf")
                return ModelRequest(parts=[UserPromptPart(["see", document, ImageUrl("https://example.org/a.png")])])
            case _:
                return ModelRequest(
                    parts=[ToolReturnPart("look", "again", "c", outcome="retried")], metadata={"n": [1]}
                )

    async def write(self) -> None:
        """Append, move back, fork, begin, or write with an old revision."""
        now = START + timedelta(seconds=self.made)
        before = await self.stored()
        choice = self.random.randrange(10)
        if before is None or choice == 0:
            record, expected = ConversationRecord(conversation_id=self.new_id("c"), head_id=None, updated_at=now), None
        elif choice == 1:
            head = await self.some_entry(before)
            record = ConversationRecord(
                conversation_id=self.new_id("f"),
                head_id=head,
                scope=before.scope,
                forked_from=before.conversation_id,
                forked_at=head,
                updated_at=now,
            )
            expected = None
        else:
            record, expected = replace(before, revision=self.new_id("r"), updated_at=now), before.revision
            if choice == 2:
                head = await self.some_entry(before)
                left = [tip for tip in [*before.branches, before.head_id] if tip is not None and tip != head]
                record = replace(record, head_id=head, branches=list(dict.fromkeys(left)))
            elif choice == 3:
                expected = self.random.choice([None, "r-old", before.revision])
        if self.random.random() < 0.03:
            record = replace(record, head_id="nowhere")
            await self.both(lambda store: store.write_record(record, expected_revision=expected))
            return
        entries: list[ConversationEntry] = []
        parent = record.head_id
        for _ in range(self.random.choice([0, 1, 1, 2, 4])):
            entries.append(ConversationEntry(id=self.new_id("e"), parent_id=parent, message=self.message()))
            parent = entries[-1].id
        usage = RunUsage(requests=self.made, input_tokens=3, details={"x": 1}, cost=Decimal("0.25"))
        asked = DeferredToolRequests(calls=[ToolCallPart("ask", "{}", "d1")], metadata={"d1": {"why": "é"}})
        record = replace(
            record,
            head_id=parent,
            usage=usage,
            scope=self.random.choice([record.scope, "ada", "bob", None]),
            deferred_tool_requests=self.random.choice([None, asked]),
        )
        await self.both(lambda store: store.write_record(record, new_entries=entries, expected_revision=expected))
        self.entries += [entry.id for entry in entries]
        self.gone += [] if before is None else [before]

    async def some_entry(self, record: ConversationRecord) -> str | None:
        tip = self.random.choice([record.head_id, *record.branches])
        line = await self.memory.read_history(tip)
        return self.random.choice([None, *(entry.id for entry in line)])

    async def delete(self) -> None:
        record = await self.stored() if self.random.random() < 0.7 else None
        if record is None and self.gone:
            record = self.random.choice(self.gone)
        if record is not None:
            found = record
            await self.both(lambda store: store.delete_record(found.conversation_id, expected_revision=found.revision))

    async def read(self) -> None:
        choice = self.random.randrange(4)
        record = await self.stored()
        if choice == 0:
            entry = self.random.choice(self.entries or ["nowhere"])
            await self.both(lambda store: store.read_entry(entry))
        elif choice == 1:
            scope, limit = self.random.choice([None, "ada", "nobody"]), self.random.choice([None, 0, 1, 5])
            await self.both(lambda store: _listed(store, scope, limit))
        elif choice == 2:
            name = "nobody" if record is None else record.conversation_id
            await self.both(lambda store: store.read_record(name))
        elif record is not None:
            head, limit = self.random.choice([record.head_id, *record.branches]), self.random.choice([None, 0, 1, 3])
            await self.both(lambda store: store.read_history(head, limit=limit))


async def _listed(store: ConversationStore, scope: str | None, limit: int | None) -> list[ConversationRecord]:
    return list(await store.read_records(scope=scope, limit=limit))


@pytest.mark.parametrize("seed", SEEDS)
async def test_random_primitives(database: SqliteDatabase, seed: int) -> None:
    """PA-1: After 12,000 random primitives both stores hold the same, and nothing else."""
    world = World(database, seed)
    while world.calls < CALLS:
        step = world.random.choices([world.write, world.delete, world.read], [6, 1, 5])[0]
        await step()
    assert world.refused > CALLS // 20
    await world.both(lambda store: _listed(store, None, None))
    for entry in world.entries:
        await world.both(lambda store, entry=entry: store.read_entry(entry))  # type: ignore[misc]
    for record in await world.memory.read_records():
        for tip in (record.head_id, *record.branches):
            await world.both(lambda store, tip=tip: store.read_history(tip))  # type: ignore[misc]
    [[[count]]] = await database.batch([Statement("SELECT count(*) FROM __agents_conversation_entries")])
    assert count == len(world.memory._entries)  # pyright: ignore[reportPrivateUsage]
