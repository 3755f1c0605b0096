"""Random calls on a `D1Saver` and on LangGraph's `InMemorySaver` at the same time: no difference."""

import asyncio
import copy
import random
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, ToolMessage
from langgraph.checkpoint.base import Checkpoint, CheckpointTuple, empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.memory import InMemorySaver

from agents_store_cloudflare.adapters.langgraph import D1Saver, TypedJsonSerializer
from agents_store_cloudflare.testing import SqliteDatabase
from tests.lengths import length

CALLS = length(2_000, 20_000)
SEEDS = 5
THREADS, NAMESPACES = ("t1", "t2", "t3"), ("", "child:1")
CHANNELS = ("messages", "items", "total", "note", "__start__", "branch:to:a")
SPECIAL = ("__error__", "__interrupt__", "__resume__")


class World:
    """Both savers, and the checkpoints that were put into them."""

    def __init__(self, database: SqliteDatabase, choice: random.Random) -> None:
        self.choice = choice
        self.database = database
        self.memory = InMemorySaver(serde=TypedJsonSerializer())
        self.saver = D1Saver(database)
        self.stored: list[tuple[dict[str, Any], Checkpoint]] = []

    def config(self, thread: str, ns: str, checkpoint_id: str | None = None) -> Any:
        named = {"thread_id": thread, "checkpoint_ns": ns}
        return {"configurable": {**named, **({} if checkpoint_id is None else {"checkpoint_id": checkpoint_id})}}

    def text(self) -> str:
        return "".join(self.choice.choice('abc ё🎉\t"\\\n') for _ in range(self.choice.choice([0, 3, 40, 400, 5_000])))

    def value(self) -> Any:
        return self.choice.choice(
            [
                self.text(),
                self.choice.randrange(10**20),
                None,
                {"a": [self.text(), (1, 2)], "$": {1: 2}},
                {self.text(), "x"},
                HumanMessage(self.text(), id=f"m{self.choice.randrange(99)}"),
                [self.text()],
                [],
            ]
        )

    def message(self) -> Any:
        kinds: list[Any] = [
            HumanMessage(self.text(), id=f"m{self.choice.randrange(99)}"),
            AIMessage(self.text(), tool_calls=[{"name": "t", "args": {"q": self.text()}, "id": "c"}]),
            ToolMessage(self.text(), tool_call_id="c", artifact=(1, self.text())),
            {"role": "user", "content": self.text()},
            RemoveMessage(id="m1"),
        ]
        return self.choice.choice(kinds)

    def next_list(self, before: Any) -> list[Any]:
        values: list[Any] = list(before or [])
        what = self.choice.random()
        if what < 0.15 and values:
            del values[self.choice.randrange(len(values)) :]
        elif what < 0.25 and values:
            values[self.choice.randrange(len(values))] = self.message()
        elif what < 0.3 and values and isinstance(values[-1], HumanMessage):
            # Somebody changes a message in place. What was put before keeps the old one.
            for _, checkpoint in self.stored:
                checkpoint["channel_values"] = copy.deepcopy(checkpoint["channel_values"])
            values[-1].content = self.text()
        return [*values, *(self.message() for _ in range(self.choice.randint(0, 3)))]

    async def put(self) -> None:
        parent = self.choice.choice(self.stored) if self.stored and self.choice.random() < 0.9 else None
        if parent and self.choice.random() < 0.8:
            parent = self.stored[-1]  # mostly the newest
        thread, ns = (
            (parent[0]["configurable"]["thread_id"], parent[0]["configurable"]["checkpoint_ns"])
            if parent
            else (self.choice.choice(THREADS), self.choice.choice(NAMESPACES))
        )
        before = parent[1] if parent else empty_checkpoint()
        versions, values = dict(before["channel_versions"]), dict(before["channel_values"])
        changed = {name for name in CHANNELS if self.choice.random() < 0.4}
        for name in changed:
            versions[name] = self.memory.get_next_version(cast("Any", versions.get(name)), None)
            if self.choice.random() < 0.2:
                values.pop(name, None)
            elif name in {"messages", "items"}:
                values[name] = self.next_list(values.get(name))
            else:
                values[name] = self.value()
        checkpoint = Checkpoint(
            v=4,
            id=str(uuid6()),
            ts=self.choice.choice(["", "2026-11-26T16:04:24.123456+00:00", "2026-11-26T16:04:24+02:00"]),
            channel_values=values,
            channel_versions=versions,
            versions_seen={"a": {name: versions[name] for name in sorted(changed)}},
            updated_channels=self.choice.choice([None, sorted(changed)]),
        )
        config = self.config(thread, ns, parent[1]["id"] if parent else None)
        config["configurable"]["user"] = "ada"
        metadata: Any = {"source": "loop", "step": self.choice.randrange(5), "parents": {}}
        new = {name: versions[name] for name in changed}
        tasks = self.tasks_of(parent[0], values) if parent and self.choice.random() < 0.7 else []
        await asyncio.sleep(0)
        made = await self.saver.aput(config, checkpoint, metadata, new)
        await asyncio.gather(*tasks)
        self.memory.put(config, checkpoint, metadata, new)
        self.stored.append((cast("dict[str, Any]", made), checkpoint))

    def tasks_of(self, config: Any, values: dict[str, Any]) -> list[asyncio.Future[None]]:
        """Return writes of the step that makes these values. They are on their way when the checkpoint is put."""
        started: list[asyncio.Future[None]] = []
        for number in range(self.choice.randint(1, 3)):
            new = values.get("messages") or [self.value()]
            count = self.choice.randint(1, 2)
            writes = [("messages", new[-count:]), ("branch:to:a", None), ("note", self.choice.choice([new[-1], "x"]))]
            task, path = f"step-{number}", f"~__pregel_pull, node{number}"
            started.append(asyncio.ensure_future(self.saver.aput_writes(config, writes, task, path)))
            self.memory.put_writes(config, writes, task, path)
        return started

    async def put_writes(self) -> None:
        if not self.stored:
            return
        config, _ = self.choice.choice(self.stored[-5:] if self.choice.random() < 0.8 else self.stored)
        number = self.choice.randrange(3)
        task, path = f"task-{number}", ["", "~__pregel_pull, a", "~__pregel_push, 0000000001"][number]
        names = SPECIAL if self.choice.random() < 0.3 else CHANNELS
        count = self.choice.randint(1, 3)
        newest = self.stored[-1][1]["channel_values"].get("messages") or [self.value()]
        writes = [
            (self.choice.choice(names), self.choice.choice([self.value(), newest[-1:], newest[-1]]))
            for _ in range(count)
        ]
        await self.saver.aput_writes(cast("Any", config), writes, task, path)
        self.memory.put_writes(cast("Any", config), writes, task, path)

    async def compare_one(self) -> None:
        if not self.stored:
            return
        config, _ = self.choice.choice(self.stored)
        named = config["configurable"]
        asked = self.config(
            named["thread_id"],
            named["checkpoint_ns"],
            named["checkpoint_id"] if self.choice.random() < 0.7 else None,
        )
        same(await self.saver.aget_tuple(asked), self.memory.get_tuple(asked))

    async def compare_lists(self) -> None:
        thread, ns = self.choice.choice(THREADS), self.choice.choice(NAMESPACES)
        options: dict[str, Any] = {"limit": self.choice.choice([None, 1, 3, 150])}
        if self.choice.random() < 0.3:
            options["filter"] = {"step": self.choice.randrange(5), "user": "ada"}
        if self.stored and self.choice.random() < 0.3:
            options["before"] = self.choice.choice(self.stored)[0]
        ours = await _all(self.saver.alist(self.config(thread, ns), **options))
        theirs = list(self.memory.list(self.config(thread, ns), **options))
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            same(one, other)

    async def forget(self) -> None:
        """Go on with another saver, which remembers nothing."""
        self.saver = D1Saver(self.database)

    async def delete(self) -> None:
        if self.choice.random() < 0.9:
            return
        thread = self.choice.choice(THREADS)
        await self.saver.adelete_thread(thread)
        self.memory.delete_thread(thread)
        self.stored = [each for each in self.stored if each[0]["configurable"]["thread_id"] != thread]


async def _all(items: AsyncIterator[CheckpointTuple]) -> list[CheckpointTuple]:
    return [item async for item in items]


def _id(found: Any) -> str:
    identity: str = found.config["configurable"]["checkpoint_id"]
    return identity


def same(one: CheckpointTuple | None, other: CheckpointTuple | None) -> None:
    """Compare two tuples with the types of their values."""
    if one is None or other is None:
        assert one is other
        return
    assert _id(one) == _id(other)
    assert one.parent_config == other.parent_config
    assert one.metadata == other.metadata
    assert repr(one.pending_writes) == repr(other.pending_writes)
    assert sorted(one.checkpoint) == sorted(other.checkpoint)
    for name, value in one.checkpoint.items():
        theirs: Any = cast("Any", other.checkpoint)[name]
        if name == "channel_values":
            assert value == theirs
            assert {key: type(each) for key, each in cast("dict[str, Any]", value).items()} == {
                key: type(each) for key, each in theirs.items()
            }
        else:
            assert value == theirs, name


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_no_difference(database: SqliteDatabase, seed: int) -> None:
    """LG-1, LG-3: Both savers return the same values, types, order of writes, metadata and lists."""
    world = World(database, random.Random(seed))
    calls = [world.put, world.put_writes, world.compare_one, world.compare_lists, world.forget, world.delete]
    for _ in range(CALLS // SEEDS):
        await world.choice.choices(calls, [10, 8, 8, 2, 1, 1])[0]()
    for config, _ in world.stored:
        asked = cast("Any", config)
        same(await D1Saver(database).aget_tuple(asked), world.memory.get_tuple(asked))
