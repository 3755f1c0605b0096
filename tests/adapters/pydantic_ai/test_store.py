"""A conversation store that two writers, lost replies, large values and foreign rows cannot break."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, LiteralString

import pytest
from pydantic_ai import Agent
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import ConversationConflict, ConversationEntry, ConversationRecord
from pydantic_ai.messages import (
    BinaryContent,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.test import TestModel
from pydantic_ai.tools import DeferredToolRequests
from pydantic_ai.usage import RequestUsage

from agents_store_cloudflare.adapters.pydantic_ai import D1ConversationStore, ForeignValueError
from agents_store_cloudflare.adapters.pydantic_ai.conversation_sql import DELETE, UPSERT
from agents_store_cloudflare.contract.errors import (
    D1StateError,
    InvalidArgumentError,
    MigrationError,
    StaleFencingTokenError,
)
from agents_store_cloudflare.database import Row, SqlError, Statement
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing import FaultyDatabase, SqliteDatabase
from agents_store_cloudflare.testing.faults import LOST
from agents_store_cloudflare.transfer import export_session, import_session
from agents_store_cloudflare.usage import D1UsageStore, UsageOptions
from tests.adapters.two_writers import NEW, OLD, THREAD, TwoWriters
from tests.homes.worlds import HomeWorld

ROWS = [
    Statement("SELECT * FROM __agents_conversations ORDER BY 1"),
    Statement("SELECT * FROM __agents_conversation_entries ORDER BY 1, 2"),
    Statement("SELECT session_id, token FROM __agents_fences ORDER BY 1"),
    Statement("SELECT id FROM __agents_usage ORDER BY 1"),
]


def said(text: str) -> ModelRequest:
    return ModelRequest(parts=[UserPromptPart(text)])


def texts_of(conversation: Conversation | None) -> list[str]:
    messages = [] if conversation is None else conversation.messages
    return [str(part.content) for message in messages for part in message.parts if isinstance(part, UserPromptPart)]


async def loaded(store: D1ConversationStore, conversation_id: str = THREAD) -> Conversation:
    return await store.load(conversation_id) or Conversation(conversation_id=conversation_id)


async def say(store: D1ConversationStore, *messages: ModelMessage, conversation_id: str = THREAD) -> Conversation:
    conversation = await loaded(store, conversation_id)
    conversation.messages.extend(messages)
    await store.save(conversation)
    return conversation


class TestTwoWriters(TwoWriters):
    conflict = ConversationConflict

    def writer(self, database: Any, **token: Any) -> D1ConversationStore:
        return D1ConversationStore(database, **token)

    async def load(self, writer: D1ConversationStore) -> Conversation:
        return await loaded(writer)

    async def write(self, writer: D1ConversationStore, loaded: Conversation, text: str) -> None:
        loaded.messages.append(said(text))
        await writer.save(loaded)

    async def texts(self, database: Any) -> list[str]:
        return texts_of(await D1ConversationStore(database).load(THREAD))


async def test_an_agent_goes_on(database: SqliteDatabase) -> None:
    """PA-1: An agent runs from stored conversations. A load is two batches, a save two, and a history of any length one."""
    agent = Agent(TestModel(custom_output_text="heard"))
    for number in range(3):
        store = D1ConversationStore(faults := FaultyDatabase(database), usage=UsageOptions())
        conversation = await loaded(store)
        assert len(faults.sent) == (2 if number else 1)
        result = await agent.run(f"question {number}", conversation=conversation)
        faults.sent.clear()
        await store.save(result)
        assert len(faults.sent) == 2
    found = await D1ConversationStore(database).load(THREAD)
    assert found is not None
    assert texts_of(found) == ["question 0", "question 1", "question 2"]
    assert len(found.messages) == 6
    assert found.usage.requests == 3


async def test_a_long_history_is_one_batch(database: SqliteDatabase) -> None:
    """PA-2: A thousand messages, or the last of them, are read in one batch."""
    store = D1ConversationStore(database)
    entries = [
        ConversationEntry(id=f"e{number}", parent_id=f"e{number - 1}" if number else None, message=said(str(number)))
        for number in range(1_000)
    ]
    record = ConversationRecord(conversation_id=THREAD, head_id="e999")
    database.batches = 0
    await store.write_record(record, new_entries=entries, expected_revision=None)
    assert await store.read_history("e999") == entries
    assert await store.read_history("e999", limit=3) == entries[-3:]
    assert database.batches == 3
    assert await store.read_history(None) == await store.read_history("e999", limit=0) == []


async def test_the_late_writer_is_told(database: SqliteDatabase) -> None:
    """PA-3: Of two writers without a lock the second gets a conflict, and nothing of it is stored."""
    store = D1ConversationStore(database)
    first, second = await say(store, said("a")), await loaded(store)
    await say(store, said("b"))
    for conversation in (first, second):
        conversation.messages.append(said("late"))
        before = await database.batch(ROWS)
        with pytest.raises(ConversationConflict) as raised:
            await store.save(conversation)
        assert raised.value.conversation_id == THREAD
        assert await database.batch(ROWS) == before
    assert texts_of(await store.load(THREAD)) == ["a", "b"]


async def test_an_unknown_head_is_a_conflict(database: SqliteDatabase) -> None:
    """PA-3: A head, or the parent of a new entry, that is not stored or was deleted is a conflict."""
    store = D1ConversationStore(database)
    await say(store, said("a"))
    origin = await store.read_record(THREAD)
    assert origin is not None
    await store.delete(THREAD)
    orphan = ConversationEntry(parent_id=origin.head_id, message=said("b"))
    for head, entries in ((origin.head_id, []), ("nowhere", []), (orphan.id, [orphan])):
        fork = ConversationRecord(conversation_id="fork", head_id=head)
        with pytest.raises(ConversationConflict):
            await store.write_record(fork, new_entries=entries, expected_revision=None)
    assert await database.batch(ROWS[:2]) == [[], []]


async def test_the_old_holder_of_the_lock(database: SqliteDatabase) -> None:
    """PA-4: Each write of an old holder is refused with both tokens, and changes nothing."""
    old, new = D1ConversationStore(database, fencing_token=OLD), D1ConversationStore(database, fencing_token=NEW)
    conversation = await say(old, said("a"))
    await say(new, said("b"))
    record = await new.read_record(THREAD)
    assert record is not None
    before = await database.batch(ROWS)
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: old.save(conversation),
        lambda: old.write_record(record, expected_revision=record.revision),
        lambda: old.delete_record(THREAD, expected_revision=record.revision),
        lambda: old.delete(THREAD),
        lambda: old.branch(THREAD, at=0, expected_revision=record.revision),
        lambda: old.branch(THREAD, at=0, expected_revision=conversation.revision),
    ]
    for call in calls:
        with pytest.raises(StaleFencingTokenError) as raised:
            await call()
        assert (raised.value.expected, raised.value.actual) == (NEW, OLD)
    assert await database.batch(ROWS) == before


async def _written(database: Any) -> tuple[D1ConversationStore, ConversationRecord, list[ConversationEntry]]:
    store = D1ConversationStore(database, fencing_token=OLD, usage=UsageOptions())
    response = ModelResponse(parts=[TextPart("ё" * 900_000)], usage=RequestUsage(input_tokens=5), model_name="m")
    entries = [
        ConversationEntry(id="1", parent_id=None, message=said("a")),
        ConversationEntry(id="2", parent_id="1", message=response),
    ]
    return store, ConversationRecord(conversation_id=THREAD, head_id="2"), entries


@pytest.mark.parametrize("lost", [1, 2, 3])
async def test_lost_replies(database: SqliteDatabase, lost: int) -> None:
    """PA-5: A batch that was sent again has one effect. The caller's own repetition is a conflict."""
    faults = FaultyDatabase(database)
    store, record, entries = await _written(faults)
    faults.fail(*["after"] * lost)  # type: ignore[arg-type]
    await store.write_record(record, new_entries=entries, expected_revision=None)
    before = await database.batch(ROWS)
    assert [len(rows) for rows in before] == [1, 3, 1, 1]
    with pytest.raises(ConversationConflict):
        await store.write_record(record, new_entries=entries, expected_revision=None)
    assert await database.batch(ROWS) == before
    faults.fail(*["after"] * lost)  # type: ignore[arg-type]
    await store.delete_record(THREAD, expected_revision=record.revision)
    assert [len(rows) for rows in await database.batch(ROWS)] == [0, 0, 1, 1]
    with pytest.raises(ConversationConflict):
        await store.delete_record(THREAD, expected_revision=record.revision)


class OvertakenDatabase:
    """A database that loses the reply to the next batch with the statement; somebody else acts before the batch is sent again."""

    def __init__(
        self,
        database: SqliteDatabase,
        between: Callable[[], Awaitable[object]],
        *,
        statement: str = UPSERT,
        is_sent: bool = True,
    ) -> None:
        self._database = database
        self._statement = statement
        self._is_sent = is_sent
        self._between: Callable[[], Awaitable[object]] | None = between

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        between = self._between
        if between is None or all(each.sql != self._statement for each in statements):
            return await self._database.batch(statements)
        self._between = None
        if self._is_sent:
            await self._database.batch(statements)
        await between()
        raise SqlError(LOST)


async def test_a_lost_reply_and_another_writer(database: SqliteDatabase) -> None:
    """PA-5: A repeated write is no conflict if somebody else wrote after its first sending."""
    other = D1ConversationStore(database)
    await say(other, said("1"))

    async def between() -> None:
        conversation = await loaded(other)
        conversation.messages.append(said("3"))
        await other.save(conversation)

    mine = D1ConversationStore(OvertakenDatabase(database, between))
    conversation = await loaded(mine)
    conversation.messages.append(said("2"))
    await mine.save(conversation)
    assert texts_of(await loaded(other)) == ["1", "2", "3"]


@pytest.mark.parametrize("writes", [1, 15])
@pytest.mark.parametrize("call", ["save", "branch", "fork"])
async def test_a_lost_reply_without_new_entries_and_other_writers(
    database: SqliteDatabase, call: str, writes: int
) -> None:
    """PA-5: The repetition is recognised although the write stored no message."""
    other = D1ConversationStore(database)
    await say(other, said("1"), said("2"))
    written = "fork" if call == "fork" else THREAD

    async def between() -> None:
        for number in range(writes):
            await say(other, said(str(number)), conversation_id=written)

    mine = D1ConversationStore(OvertakenDatabase(database, between))
    conversation = await loaded(mine)
    if call == "save":
        await mine.save(conversation)
    elif call == "branch":
        await mine.branch(THREAD, at=1, expected_revision=conversation.revision)
    else:
        await mine.fork(THREAD, at=1, new_conversation_id="fork")
    kept = ["1", "2"] if call == "save" else ["1"]
    assert texts_of(await loaded(other, written)) == [*kept, *map(str, range(writes))]


@pytest.mark.parametrize("call", ["branch", "fork"])
async def test_a_deletion_while_the_lines_are_read(database: SqliteDatabase, call: str) -> None:
    """PA-5: A branch or fork from an entry whose conversation is deleted meanwhile is a conflict, not a KeyError."""
    other = D1ConversationStore(database)
    conversation = await say(other, said("1"), said("2"))
    await other.branch(THREAD, at=1, expected_revision=conversation.revision)
    revision = (await say(other, said("3"))).revision
    record = await other.read_record(THREAD)
    assert record is not None
    [left] = record.branches

    class Deleting(D1ConversationStore):
        async def read_history(self, head_id: str | None, *, limit: int | None = None) -> list[ConversationEntry]:
            if head_id == left:
                await other.delete(THREAD)
            return await super().read_history(head_id, limit=limit)

    mine = Deleting(database)
    called = (
        mine.branch(THREAD, from_entry=left, expected_revision=revision)
        if call == "branch"
        else mine.fork(THREAD, from_entry=left)
    )
    with pytest.raises(ConversationConflict):
        await called


async def test_what_a_save_stores_is_fixed(database: SqliteDatabase) -> None:
    """PA-5: Changes of the conversation during a save are not stored: neither its parts, nor its usage, nor its requests."""

    class Changing(FaultyDatabase):
        async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
            part.content = f"changed {len(self.sent)}"
            conversation.usage.requests += 1
            conversation.messages.append(said("late"))
            conversation.deferred_tool_requests = None
            return await super().batch(statements)

    part = UserPromptPart("1")
    calls = DeferredToolRequests(approvals=[ToolCallPart("pay", {"to": "ada"}, tool_call_id="c")])
    conversation = Conversation(
        conversation_id=THREAD, messages=[ModelRequest(parts=[part])], deferred_tool_requests=calls
    )
    await D1ConversationStore(Changing(database)).save(conversation)
    stored = await D1ConversationStore(database).load(THREAD)
    assert stored is not None
    assert (texts_of(stored), stored.usage.requests, stored.deferred_tool_requests) == (["1"], 0, calls)


async def test_a_lost_reply_and_a_deletion(database: SqliteDatabase) -> None:
    """PA-5: If somebody else has deleted the conversation, the repeated write is a conflict and stores nothing."""
    other = D1ConversationStore(database)
    await say(other, said("1"))
    mine = D1ConversationStore(OvertakenDatabase(database, lambda: other.delete(THREAD)))
    conversation = await loaded(mine)
    conversation.messages.append(said("2"))
    with pytest.raises(ConversationConflict):
        await mine.save(conversation)
    assert [len(rows) for rows in (await database.batch(ROWS))[:2]] == [0, 0]


@pytest.mark.parametrize("is_sent", [True, False])
async def test_a_deletion_without_a_reply_and_another_writer(database: SqliteDatabase, is_sent: bool) -> None:
    """PA-5: A deletion sent again deletes nothing that others have made anew. If the first one never arrived, it deletes what is stored."""
    other = D1ConversationStore(database)
    await say(other, said("1"))

    async def between() -> None:
        for text in ("new", "newer"):
            await say(other, said(text))

    lossy = OvertakenDatabase(database, between, statement=DELETE, is_sent=is_sent)
    await D1ConversationStore(lossy).delete(THREAD)
    assert texts_of(await loaded(other)) == (["new", "newer"] if is_sent else [])


async def test_a_deletion_without_a_reply_and_very_many_writes(database: SqliteDatabase) -> None:
    """PA-5: After 16 writes of others a deletion sent again cannot know whose they are. It deletes nothing, and says so."""
    other = D1ConversationStore(database)
    await say(other, said("1"))

    async def between() -> None:
        for number in range(16):
            await say(other, said(f"{number}"))

    lossy = OvertakenDatabase(database, between, statement=DELETE)
    with pytest.raises(D1StateError, match="meanwhile") as raised:
        await D1ConversationStore(lossy).delete(THREAD)
    assert raised.value.outcome_unknown
    assert len(texts_of(await loaded(other))) == 16


async def test_every_failing_statement(database: SqliteDatabase) -> None:
    """PA-5: A batch that fails at any statement has changed nothing."""
    faults = FaultyDatabase(database)
    store, record, entries = await _written(faults)
    for index in range(12):
        faults.break_statement(index)
        try:
            await store.write_record(record, new_entries=entries, expected_revision=None)
        except D1StateError:
            assert await database.batch(ROWS) == [[], [], [], []]
        else:
            assert index > 6
            return
    pytest.fail("it never got through")


async def test_cancellation(database: SqliteDatabase) -> None:
    """PA-5: A save that is cancelled at any moment has its whole effect or none. A second save is done, or is a conflict."""
    outcomes: set[str] = set()
    for turns in range(12):
        name = f"c{turns}"
        conversation = Conversation(conversation_id=name, messages=[said("a"), said("b")])
        saving = asyncio.ensure_future(D1ConversationStore(database).save(conversation))
        for _ in range(turns):
            await asyncio.sleep(0)
        saving.cancel()
        await asyncio.gather(saving, return_exceptions=True)
        found = texts_of(await D1ConversationStore(database).load(name))
        assert found in ([], ["a", "b"])
        try:
            await D1ConversationStore(database).save(conversation)
            outcomes.add("saved")
        except ConversationConflict:
            outcomes.add("conflict")
            assert found == ["a", "b"]
        assert texts_of(await D1ConversationStore(database).load(name)) == ["a", "b"]
    assert "saved" in outcomes


@pytest.mark.parametrize("size_bytes", [199_999, 1_125_000, 2_000_000, 5_000_000])
async def test_large_messages(database: SqliteDatabase, size_bytes: int) -> None:
    """PA-6: A message above the 2 MB of a row comes back. A message with a missing part is an error that names it."""
    document = BinaryContent(b"\xff" * size_bytes, media_type="application/pdf")
    messages = [
        said("a"),
        ModelRequest(parts=[UserPromptPart(["read", document])]),
        said('"' * 300_000 + "ё"),
        said("b"),
    ]
    store = D1ConversationStore(database)
    await say(store, *messages)
    found = await D1ConversationStore(database).load(THREAD)
    assert found is not None
    assert found.messages == messages
    [rows] = await database.batch(
        [Statement("SELECT DISTINCT entry_id FROM __agents_conversation_entries WHERE part = 1")]
    )
    assert bool(rows) is (size_bytes > 1_125_000 - 1)
    if rows:
        await database.batch([Statement("DELETE FROM __agents_conversation_entries WHERE part = 1")])
        with pytest.raises(ForeignValueError, match="lacks some of its"):
            await store.load(THREAD)


async def test_usage_in_the_same_transaction(database: SqliteDatabase) -> None:
    """PA-7: Each response counts once, with the write that stores it. A refused write counts nothing."""
    store = D1ConversationStore(database, usage=UsageOptions())
    usage = RequestUsage(input_tokens=100, output_tokens=20, cache_read_tokens=64, details={"reasoning_tokens": 3})
    late = await say(store, said("a"), ModelResponse(parts=[TextPart("x")], usage=usage, model_name="m"))
    fork = await store.fork(THREAD)
    await say(store, said("b"), ModelResponse(parts=[TextPart("y")], usage=usage, model_name="n"))
    late.messages.append(ModelResponse(parts=[TextPart("late")], usage=usage, model_name="late"))
    with pytest.raises(ConversationConflict):
        await store.save(late)
    rollup = await D1UsageStore(database).get_rollup(THREAD)
    assert set(rollup.tokens_by_model) == {"m", "n"}
    assert (rollup.tokens.prompt, rollup.tokens.completion, rollup.tokens.reasoning, rollup.tokens.cached) == (
        200,
        40,
        6,
        128,
    )
    assert (await D1UsageStore(database).get_rollup(fork.conversation_id)).tokens.total == 0


BAD: dict[str, Callable[[], ModelMessage]] = {
    "NaN": lambda: ModelRequest(parts=[ToolReturnPart("t", {"n": [float("nan")]}, "c")]),
    "an infinity": lambda: ModelRequest(parts=[UserPromptPart("a")], metadata={"n": float("inf")}),
    "an object": lambda: ModelRequest(parts=[ToolReturnPart("t", object(), "c")]),
    "half a character": lambda: said("a\ud800"),
}


@pytest.mark.parametrize("name", BAD)
async def test_what_json_cannot_hold(database: SqliteDatabase, name: str) -> None:
    """PA-8: A value that JSON cannot hold is refused by name before anything is sent."""
    store = D1ConversationStore(database)
    entry = ConversationEntry(id="bad", parent_id=None, message=BAD[name]())
    database.batches = 0
    with pytest.raises(ForeignValueError, match="entry 'bad'"):
        await store.write_record(
            ConversationRecord(conversation_id=THREAD, head_id="bad"), new_entries=[entry], expected_revision=None
        )
    assert database.batches == 0


async def test_bad_arguments(database: SqliteDatabase) -> None:
    """PA-8: Bad ids, repeated ids and entries of others are refused, and nothing is stored."""
    store = D1ConversationStore(database)
    await say(store, said("a"), conversation_id="other")
    other = await store.read_record("other")
    assert other is not None
    before = await database.batch(ROWS)
    twice = [ConversationEntry(id="1", parent_id=None, message=said("a"))] * 2
    stored = [ConversationEntry(id=str(other.head_id), parent_id=None, message=said("another"))]
    await say(store, said("mine"))
    mine = await store.read_record(THREAD)
    assert mine is not None
    for head, entries, match in (("1", twice, "same id"), (str(other.head_id), stored, "stored already")):
        record = ConversationRecord(conversation_id="new", head_id=head)
        with pytest.raises(InvalidArgumentError, match=match):
            await store.write_record(record, new_entries=entries, expected_revision=None)
    mine.head_id = other.head_id
    with pytest.raises(InvalidArgumentError, match="fork"):
        await store.write_record(mine, expected_revision=mine.revision)
    for call in (store.read_record(""), store.read_entry("__x"), store.read_history("x" * 600)):
        with pytest.raises(InvalidArgumentError):
            await call
    await store.delete(THREAD)
    assert await database.batch(ROWS) == before


UPDATES: dict[str, tuple[LiteralString, str]] = {
    "a record that is no JSON": ("UPDATE __agents_conversations SET body = '{'", "conversation 'thread'"),
    "a record of another program": ("UPDATE __agents_conversations SET body = '{}' || 1", "conversation 'thread'"),
    "a record of a newer version": (
        "UPDATE __agents_conversations SET body = json_set(body, '$.format_version', 2)",
        "format_version",
    ),
    "an entry of a newer kind": ("UPDATE __agents_conversation_entries SET kind = 'summary'", "kind 'summary'"),
    "an entry that is no message": ("UPDATE __agents_conversation_entries SET body = '{}'", "of entry"),
    "an entry that is no JSON": ("UPDATE __agents_conversation_entries SET body = 'x'", "of entry"),
}


@pytest.mark.parametrize("name", UPDATES)
async def test_foreign_rows(database: SqliteDatabase, name: str) -> None:
    """PA-8: Rows of another program or a newer version are errors that name them, and they stay."""
    store = D1ConversationStore(database)
    await say(store, said("a"))
    sql, match = UPDATES[name]
    await database.batch([Statement(sql)])
    before = await database.batch(ROWS)
    with pytest.raises(ForeignValueError, match=match) as raised:
        await store.load(THREAD)
    assert "'a'" not in str(raised.value)
    assert await database.batch(ROWS) == before


async def test_without_tables_and_with_newer_ones() -> None:
    """PA-8: Without tables the error says how to make them. `setup` makes them, and refuses a newer database."""
    database = SqliteDatabase()
    store = D1ConversationStore(database)
    with pytest.raises(D1StateError, match="run_migration"):
        await store.load(THREAD)
    await store.setup()
    await say(store, said("a"))
    await database.batch([Statement("INSERT INTO __agents_schema (version, name) VALUES (99, 'x')")])
    with pytest.raises(MigrationError, match="newer"):
        await store.setup()
    assert texts_of(await store.load(THREAD)) == ["a"]


async def test_deletions_release_what_nobody_reaches(database: SqliteDatabase) -> None:
    """PA-9: The deletion of a session removes its conversation, and the messages that no fork shares."""
    store, states = D1ConversationStore(database), D1StateStore(database)
    await say(store, said("a"), said("b"))
    fork = await store.fork(THREAD, at=1, new_conversation_id="fork")
    fork.messages.append(said("c"))
    await store.save(fork)
    await states.create_session(THREAD, agent_type="x")
    await states.delete_session(THREAD)
    assert await store.load(THREAD) is None
    assert texts_of(await store.load("fork")) == ["a", "c"]
    await say(store, said("again"))
    await states.delete_session("fork")
    assert texts_of(await store.load(THREAD)) == ["again"]
    state = await states.create_session(THREAD, agent_type="x")
    state.expires_at = 1
    await states.save(state)
    assert await states.cleanup_expired_sessions() == [THREAD]
    assert await database.batch(ROWS[:2]) == [[], []]


async def test_left_branches_go_with_their_conversation(database: SqliteDatabase) -> None:
    """PA-9: A deletion also removes a branch that the record no longer names."""
    store = D1ConversationStore(database)
    conversation = await say(store, said("a"), said("b"))
    branched = await store.branch(THREAD, at=1, expected_revision=conversation.revision)
    branched.messages.append(said("c"))
    await store.save(branched)
    record = await store.read_record(THREAD)
    assert record is not None
    assert [
        texts_of(Conversation(messages=[e.message for e in await store.read_history(tip)])) for tip in record.branches
    ] == [["a", "b"]]
    record.branches, record.revision, expected = [], "r2", record.revision
    await store.write_record(record, expected_revision=expected)
    await store.delete(THREAD)
    assert await database.batch(ROWS[:2]) == [[], []]


@pytest.mark.parametrize("replace", [False, True])
async def test_copies(database: SqliteDatabase, replace: bool) -> None:
    """PA-9: Export and import copy conversations, forks with shared messages, and messages in parts."""
    store = D1ConversationStore(database)
    await say(store, said("a"), said("b" * 2_500_000), *(said(str(number)) for number in range(120)))
    await store.fork(THREAD, at=2, new_conversation_id="fork")
    await say(store, said("c"), conversation_id="fork")
    for name in (THREAD, "fork"):
        await D1StateStore(database).create_session(name, agent_type="x")
    copies = [json.loads(json.dumps(await export_session(database, name))) for name in ("fork", THREAD)]
    target = SqliteDatabase()
    moved = D1ConversationStore(target)
    await moved.setup()
    if replace:
        await say(moved, said("old"), conversation_id="fork")
        await D1StateStore(target).create_session("fork", agent_type="old")
    for copy in copies:
        await import_session(target, copy, replace=replace)
    for name in ("fork", THREAD):
        assert await moved.load(name) == await store.load(name)
        assert await moved.read_record(name) == await store.read_record(name)
    assert await target.batch(ROWS) == await database.batch(ROWS)
    await say(moved, said("d"))


async def test_conversations_in_homes() -> None:
    """PA-10: A conversation lives in the home of its session and is deleted with it. Lists and unknown entries are refused by name."""
    world = HomeWorld()
    cloud = await world.store()
    homes = cloud.session_homes
    store = D1ConversationStore(homes)
    await say(store, said("a"), said("b"), conversation_id="ada")
    empty = Conversation(conversation_id="empty")
    await store.save(empty)
    assert texts_of(await D1ConversationStore(homes).load("ada")) == ["a", "b"]
    fork = await store.fork("ada", at=1, new_conversation_id="ada//fork")
    assert texts_of(fork) == ["a"]
    with pytest.raises(InvalidArgumentError, match="home"):
        await store.list_conversations()
    with pytest.raises(InvalidArgumentError, match="home"):
        await D1ConversationStore(homes).read_entry("somewhere")
    for name in ("ada", "empty"):
        await cloud.state_store.create_session(name, agent_type="x")
        await cloud.delete_session(name)
        assert await D1ConversationStore(homes).load(name) is None
    assert texts_of(await D1ConversationStore(homes).load("ada//fork")) == ["a"]


async def test_so_many_entries_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """PA-10: The homes of the latest entries are known. An older entry needs the read of its conversation."""
    monkeypatch.setattr(f"{D1ConversationStore.__module__}.MOST_PLACES", 3)
    cloud = await HomeWorld().store()
    homes = cloud.session_homes
    store = D1ConversationStore(homes)
    heads: list[str] = []
    for number in range(5):
        await say(store, said("a"), conversation_id=f"ada{number}")
        record = await store.read_record(f"ada{number}")
        assert record is not None
        assert record.head_id is not None
        heads.append(record.head_id)
    assert await store.read_entry(heads[4]) is not None
    with pytest.raises(InvalidArgumentError, match="home"):
        await store.read_entry(heads[0])
    await store.read_record("ada0")
    assert await store.read_entry(heads[0]) is not None


@pytest.mark.parametrize("scope", [None, "ada"])
async def test_costs(database: SqliteDatabase, scope: str | None) -> None:
    """PA-2: Batches are as docs/pydantic-ai.md says. A save writes one row, and each message one (sqlite does not count index rows)."""
    store = D1ConversationStore(database)
    for _ in range(2):
        conversation = await loaded(store)
        conversation.messages += [said("a"), ModelResponse(parts=[TextPart("b")])]
        [[[before]]] = await database.batch([CHANGES])
        database.batches = 0
        await store.save(conversation, scope=scope)
        assert database.batches == 2
        [[[after]]] = await database.batch([CHANGES])
        assert isinstance(before, int)
        assert after == before + 3
    database.batches = 0
    await store.fork(THREAD)
    assert database.batches == 3
    await store.list_conversations(scope=scope)
    assert database.batches == 4


CHANGES = Statement("SELECT total_changes()")
