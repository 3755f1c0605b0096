"""What the adapters' calls cost: the frameworks run here, and each batch runs on the real D1 of the measuring Worker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from a2a.server.cluster.version import TaskVersion
from a2a.types.a2a_pb2 import ListTasksRequest, TaskState
from langgraph.checkpoint.base import Checkpoint, CheckpointMetadata, empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from pydantic_ai.conversation import Conversation
from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, UserPromptPart

from agents_store_cloudflare.adapters.a2a import D1TaskStore
from agents_store_cloudflare.adapters.langgraph import D1Saver, D1Store
from agents_store_cloudflare.adapters.openai_agents import D1Session
from agents_store_cloudflare.adapters.pydantic_ai import D1ConversationStore
from agents_store_cloudflare.database import Row, SqlError, Statement
from agents_store_cloudflare.database.interfaces import BatchCost
from agents_store_cloudflare.metering.meter import MeteredDatabase, OpenMeters
from tests.adapters.a2a.tasks import call_of, task

__all__ = ["adapter_costs"]

TIMEOUT_S = 60


class WorkersDatabase:
    """The D1 of the measuring Worker."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Run a batch."""
        return (await self.measured_batch(statements))[0]

    async def measured_batch(self, statements: Sequence[Statement]) -> tuple[list[list[Row]], BatchCost]:
        """Run a batch, and return what it cost too."""
        body = json.dumps([[each.sql, list(each.parameters)] for each in statements]).encode()
        return await asyncio.to_thread(self._put, body)

    def _put(self, body: bytes) -> tuple[list[list[Row]], BatchCost]:
        try:
            with urlopen(Request(self._url, data=body, method="PUT"), timeout=TIMEOUT_S) as response:
                results, statements, read, written = json.load(response)
        except HTTPError as error:
            raise SqlError(error.read().decode()) from error
        return results, BatchCost(statements=statements, rows_read=read, rows_written=written)


class Ledger:
    """The lines so far, in the form of `tests/costs/worker/cost_ledger.py`."""

    def __init__(self, url: str) -> None:
        self._meters = OpenMeters()
        self.database = MeteredDatabase(WorkersDatabase(url), self._meters)
        self.lines: list[list[str | int | None]] = []

    @contextmanager
    def line(self, call: str, data: str) -> Generator[None]:
        """The block is the call; one line of the table."""
        with self._meters.open() as m:
            yield
        self.lines.append([call, data, m.d1.round_trips, m.d1.rows_read, m.d1.rows_written, 0, 0, 0])


async def adapter_costs(url: str) -> list[list[str | int | None]]:
    """Return the lines of every adapter. The database is migrated."""
    ledger = Ledger(url)
    await _saver(ledger)
    await _item_store(ledger)
    await _conversations(ledger)
    await _sdk_session(ledger)
    await _tasks(ledger)
    return ledger.lines


async def _saver(ledger: Ledger) -> None:
    saver = D1Saver(ledger.database)
    with ledger.line("saver.setup", "a current schema"):
        await saver.setup()
    config: dict[str, dict[str, str]] = {"configurable": {"thread_id": "graph", "checkpoint_ns": ""}}
    for number in range(3):
        checkpoint: Checkpoint = {
            **empty_checkpoint(),
            "id": str(uuid6(clock_seq=number)),
            "channel_values": {"messages": [f"message {each}" for each in range(number + 1)]},
            "channel_versions": {"messages": number + 1},
        }
        metadata: CheckpointMetadata = {"source": "loop", "step": number, "parents": {}}
        what = "the first of a thread" if not number else f"checkpoint {number + 1} of the same saver"
        with ledger.line("saver.aput", what):
            config = await saver.aput(config, checkpoint, metadata, checkpoint["channel_versions"])  # type: ignore[assignment,arg-type]
    with ledger.line("saver.aput_writes", "two writes of a task"):
        await saver.aput_writes(config, [("messages", "a"), ("other", 1)], "task-1")  # type: ignore[arg-type]
    newest: dict[str, dict[str, str]] = {"configurable": {"thread_id": "graph"}}
    for what, reader in (
        ("the newest, by the saver that put it", saver),
        ("the newest, by another", D1Saver(ledger.database)),
    ):
        with ledger.line("saver.aget_tuple", what):
            await reader.aget_tuple(newest)  # type: ignore[arg-type]
    with ledger.line("saver.alist", "3 checkpoints"):
        assert len([each async for each in D1Saver(ledger.database).alist(newest)]) == 3  # type: ignore[arg-type]
    with ledger.line("saver.aget_delta_channel_history", "one channel"):
        await D1Saver(ledger.database).aget_delta_channel_history(config=newest, channels=["messages"])  # type: ignore[arg-type]
    with ledger.line("saver.acopy_thread", "3 checkpoints"):
        await saver.acopy_thread("graph", "graph-copy")
    with ledger.line("saver.aprune", "3 checkpoints, the newest stays"):
        await saver.aprune(["graph-copy"])
    with ledger.line("saver.adelete_for_runs", "a run that is not there"):
        await saver.adelete_for_runs(["nobody"])
    with ledger.line("saver.adelete_thread", "3 checkpoints"):
        await saver.adelete_thread("graph")
    await saver.adelete_thread("graph-copy")


async def _item_store(ledger: Ledger) -> None:
    store = D1Store(ledger.database)
    with ledger.line("item_store.setup", "a current schema"):
        await store.setup()
    with ledger.line("item_store.abatch", "aput of a new item"):
        await store.aput(("users", "ada"), "k", {"n": 1})
    with ledger.line("item_store.abatch", "aput of the same item"):
        await store.aput(("users", "ada"), "k", {"n": 2})
    with ledger.line("item_store.abatch", "aget"):
        await store.aget(("users", "ada"), "k")
    with ledger.line("item_store.abatch", "asearch of a namespace with 1 item"):
        await store.asearch(("users",))
    with ledger.line("item_store.abatch", "alist_namespaces of 1"):
        await store.alist_namespaces()
    with ledger.line("item_store.abatch", "adelete"):
        await store.adelete(("users", "ada"), "k")
    with ledger.line("item_store.sweep_ttl", "nothing to do"):
        await store.sweep_ttl()


async def _conversations(ledger: Ledger) -> None:
    conversations = D1ConversationStore(ledger.database)
    with ledger.line("conversations.setup", "a current schema"):
        await conversations.setup()
    conversation = Conversation(conversation_id="talk")
    for what in ("a new conversation, 2 messages", "2 more messages"):
        conversation.messages.extend(
            [ModelRequest(parts=[UserPromptPart("hello")]), ModelResponse(parts=[TextPart("hello")])]
        )
        with ledger.line("conversations.save", what):
            await conversations.save(conversation)
    with ledger.line("conversations.read_record", "one"):
        record = await conversations.read_record("talk")
    assert record is not None
    assert record.head_id is not None
    with ledger.line("conversations.read_records", "one conversation"):
        await conversations.read_records()
    with ledger.line("conversations.read_history", "4 messages"):
        await conversations.read_history(record.head_id)
    with ledger.line("conversations.read_entry", "one message"):
        await conversations.read_entry(record.head_id)
    with ledger.line("conversations.branch", "at the first message"):
        await conversations.branch("talk", at=1, expected_revision=record.revision)
    with ledger.line("conversations.fork", "at the first message"):
        await conversations.fork("talk", at=1, new_conversation_id="other talk")
    changed = await conversations.read_record("talk")
    assert changed is not None
    with ledger.line("conversations.write_record", "the same record, no new message"):
        await conversations.write_record(changed, expected_revision=changed.revision)
    last = await conversations.read_record("talk")
    assert last is not None
    with ledger.line("conversations.delete_record", "4 messages"):
        await conversations.delete_record("talk", expected_revision=last.revision)


async def _sdk_session(ledger: Ledger) -> None:
    session = D1Session("items", ledger.database)
    items = [{"role": "user", "content": f"item {number}"} for number in range(4)]
    with ledger.line("sdk_session.add_items", "the first 2 of a session"):
        await session.add_items(items[:2])  # type: ignore[arg-type]
    with ledger.line("sdk_session.add_items", "2 more"):
        await session.add_items(items[2:])  # type: ignore[arg-type]
    with ledger.line("sdk_session.get_items", "4"):
        await session.get_items()
    with ledger.line("sdk_session.get_items", "the last 2 of 4"):
        await session.get_items(2)
    with ledger.line("sdk_session.pop_item", "1 of 4"):
        await session.pop_item()
    with ledger.line("sdk_session.clear_session", "3 items"):
        await session.clear_session()


async def _tasks(ledger: Ledger) -> None:
    store, ada = D1TaskStore(ledger.database), call_of()
    with ledger.line("task_store.setup", "a current schema"):
        await store.setup()
    with ledger.line("task_store.save", "a new task"):
        version = await store.save(task(), prev_version=TaskVersion.MISSING, context=ada)
    with ledger.line("task_store.save", "the same task, done"):
        await store.save(task(state=TaskState.TASK_STATE_COMPLETED), prev_version=version, context=ada)
    with ledger.line("task_store.get", "one task"):
        await store.get("task", ada)
    with ledger.line("task_store.list", "one task"):
        await store.list(ListTasksRequest(), ada)
    with ledger.line("task_store.delete", "one task"):
        await store.delete("task", ada)
