"""`D1StepStore`: the steps of runs, their snapshots and the effects of their tools."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.usage import RequestUsage

from agents_store_cloudflare.adapters.pydantic_ai_harness import D1StepStore, ForeignValueError
from agents_store_cloudflare.contract.errors import InvalidArgumentError, StaleFencingTokenError, StateSizeExceededError
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing import FaultyDatabase, SqliteDatabase
from agents_store_cloudflare.usage import D1UsageStore
from tests.adapters.pydantic_ai_harness import harness_types
from tests.adapters.pydantic_ai_harness.harness_types import (
    AT,
    ContinuableSnapshot,
    RunRecord,
    StepEvent,
    ToolEffectRecord,
)
from tests.adapters.two_writers import THREAD, TwoWriters
from tests.homes.worlds import HomeWorld

RUN = "run-1"


def store_of(database: Any, **options: Any) -> D1StepStore:
    return D1StepStore(THREAD, database, types=harness_types, **options)


def history(count: int, text: str = "text") -> list[ModelMessage]:
    """Return so many messages: questions, and answers with tool calls."""
    usage = RequestUsage(input_tokens=10, output_tokens=5)
    pairs: list[ModelMessage] = []
    for number in range(count):
        if number % 2:
            call = ToolCallPart("look_up", {"n": number}, tool_call_id=f"c{number}")
            pairs.append(
                ModelResponse(parts=[TextPart(f"{text} {number}"), call], usage=usage, timestamp=AT, model_name="gpt")
            )
        else:
            asked = UserPromptPart(f"{text} {number}", timestamp=AT)
            pairs.append(ModelRequest(parts=[asked, ToolReturnPart("look_up", "é", tool_call_id="c", timestamp=AT)]))
    return pairs


def snapshot(number: int, messages: list[ModelMessage], **fields: Any) -> ContinuableSnapshot:
    return ContinuableSnapshot(run_id=RUN, step_index=number, messages=messages, **fields)


class TestTwoWriters(TwoWriters):
    """HS-7, HS-8: the holder whose lock was lost is refused by name. Without a lock both steps stay."""

    too_large = StateSizeExceededError

    def writer(self, database: Any, **token: Any) -> D1StepStore:
        """Return a store of its own."""
        return store_of(database, **token)

    async def load(self, writer: D1StepStore) -> Any:
        """Return the events."""
        return await writer.list_events(run_id=RUN)

    async def write(self, writer: D1StepStore, loaded: Any, text: str) -> None:
        """Store one event."""
        await writer.append_event(StepEvent(run_id=RUN, kind="tool_call_failed", error=text))

    async def texts(self, database: Any) -> list[str]:
        """Return the texts of all events."""
        return [event.error for event in await store_of(database).list_events(run_id=RUN)]


async def test_runs(database: SqliteDatabase) -> None:
    """HS-6: Runs come back equal, by id, parent and conversation, the oldest first."""
    store = store_of(database)
    assert await store.get_run(run_id=RUN) is None
    assert await store.list_runs() == []
    first = RunRecord(run_id="a", conversation_id="c", started_at=AT + timedelta(seconds=2), metadata={"k": "é"})
    second = RunRecord(run_id="b", conversation_id="c", parent_run_id="a", agent_name="n", registration_id="r")
    for record in (first, second):
        await store.register_run(record)
    other = store_of(database)
    assert await other.get_run(run_id="a") == first
    assert await other.list_runs() == [second, first]
    assert await other.list_runs(conversation_id="c", parent_run_id="a") == [second]
    assert await other.list_runs(conversation_id="x") == []


async def test_a_run_id_is_used_once(database: SqliteDatabase) -> None:
    """HS-8: Of two runs with one id the second is refused. The same record may come again."""
    record = RunRecord(run_id=RUN, registration_id="r1")
    await store_of(database).register_run(record)
    await store_of(database).register_run(record)
    outcomes = await asyncio.gather(
        *(store_of(database).register_run(RunRecord(run_id="two", registration_id=f"r{n}")) for n in range(2)),
        store_of(database).register_run(replace(record, registration_id="r2")),
        return_exceptions=True,
    )
    assert [type(each) for each in outcomes].count(InvalidArgumentError) == 2
    assert issubclass(InvalidArgumentError, ValueError)
    assert len(await store_of(database).list_runs()) == 2


async def test_events(database: SqliteDatabase) -> None:
    """HS-7: Events come back equal, in their order. An event with a known key is stored once."""
    store = store_of(database)
    events = [
        StepEvent(run_id=RUN, kind="run_started", metadata={"a": "b"}, idempotency_key="k1"),
        StepEvent(run_id=RUN, kind="tool_call_started", step_index=3, tool_call_id="c", tool_name="look_up"),
        StepEvent(run_id="other", kind="run_started", idempotency_key="k1"),
    ]
    for event in [*events, events[0]]:
        await store.append_event(event)
    await store_of(database).append_event(events[0])
    assert await store.list_events(run_id=RUN) == events[:2]
    assert await store.list_events(run_id="other") == events[2:]
    assert await store.list_events(run_id="x") == []


async def test_snapshots(database: SqliteDatabase) -> None:
    """HS-6: Each snapshot comes back equal: a longer history, one that was cut and changed, and one without messages."""
    store = store_of(database)
    changed = [*history(4)[:2], *history(5, "changed")[2:]]
    taken = [
        snapshot(1, history(2)),
        snapshot(2, history(6), state="interrupted", conversation_id="c", agent_name="n"),
        snapshot(3, changed),
        snapshot(4, []),
        snapshot(5, history(6)),
    ]
    for each in taken:
        await store.save_snapshot(each)
    other = store_of(database)
    assert await other.list_snapshots(run_id=RUN, include_interrupted=True) == taken
    assert await other.list_snapshots(run_id=RUN) == [taken[0], *taken[2:]]
    assert await other.latest_snapshot(run_id=RUN) == taken[-1]
    await store.save_snapshot(replace(taken[1], step_index=6))
    assert await other.latest_snapshot(run_id=RUN) == taken[-1]
    assert (await other.latest_snapshot(run_id=RUN, include_interrupted=True)).step_index == 6
    assert await other.latest_snapshot(run_id="x") is None


async def test_a_repeated_or_late_snapshot(database: SqliteDatabase) -> None:
    """HS-7: A snapshot with a known key, or of an earlier number than the run's newest, is not stored."""
    store = store_of(database)
    for key, number in [
        ("1:a", 1),
        ("3:a", 2),
        ("3:b", 3),
        ("3:a", 4),
        ("2:x", 5),
        ("free", 6),
        ("free", 7),
        (None, 8),
    ]:
        await store.save_snapshot(snapshot(number, history(number), idempotency_key=key))
    assert [each.step_index for each in await store.list_snapshots(run_id=RUN)] == [1, 2, 3, 6, 8]


async def test_a_message_is_stored_once(database: SqliteDatabase) -> None:
    """HS-9: Fifty snapshots of a history that grows, of two runs in turn, store each of its messages once for each run."""
    store = store_of(database)
    for number in range(1, 26):
        await store.save_snapshot(snapshot(number, history(2 * number)))
        await store.save_snapshot(replace(snapshot(number, history(2 * number, "other")), run_id="run-2"))
    messages = (await D1StateStore(database).load_state(THREAD, required=True)).messages
    kinds = [message.get("step") for message in messages]
    assert (kinds.count("message"), kinds.count("snapshot")) == (100, 50)
    assert (await store.latest_snapshot(run_id="run-2")).messages == history(50, "other")


async def test_tool_effects(database: SqliteDatabase) -> None:
    """HS-6: The last record of a tool call counts. Those that have begun and not ended are listed."""
    store = store_of(database)
    begun = [
        ToolEffectRecord(
            tool_call_id=name, tool_name="pay", run_id=RUN, status="started", idempotency_key=f"key {name}"
        )
        for name in "abc"
    ]
    for record in begun:
        await store.record_tool_effect(record)
    done = replace(begun[1], status="completed", ended_at=AT, effect_summary="paid")
    await store.record_tool_effect(done)
    other = store_of(database)
    assert await other.get_tool_effect(run_id=RUN, tool_call_id="b") == done
    assert await other.get_tool_effect(run_id="x", tool_call_id="b") is None
    assert await other.list_unresolved_tool_effects(run_id=RUN) == [begun[0], begun[2]]


async def test_what_it_costs(database: SqliteDatabase) -> None:
    """HS-9: A write is one batch after the first one of a store, a repeated one two, a read one."""
    store = store_of(database)
    event = StepEvent(run_id=RUN, kind="run_started", idempotency_key="k")
    await store.append_event(event)
    for call, batches in [
        (store.save_snapshot(snapshot(1, history(40))), 1),
        (store.record_tool_effect(ToolEffectRecord(tool_call_id="c", tool_name="t", run_id=RUN, status="started")), 1),
        (store.append_event(event), 1),
        (store.append_event(replace(event, idempotency_key="l")), 2),
        (store.latest_snapshot(run_id=RUN), 1),
    ]:
        before = database.batches
        await call
        assert database.batches - before == batches


async def test_many_workers_at_once(database: SqliteDatabase) -> None:
    """HS-8: Events, effects and snapshots of eight Workers at once are all stored once, and each history is whole."""
    stores = [store_of(database) for _ in range(8)]

    async def work(number: int) -> None:
        store, run_id = stores[number], f"run-{number}"
        for step in range(4):
            await store.append_event(StepEvent(run_id=run_id, kind="run_started", step_index=step))
            await store.save_snapshot(replace(snapshot(step, history(step + 1, run_id)), run_id=run_id))

    await asyncio.gather(*map(work, range(8)))
    reader = store_of(database)
    for number in range(8):
        run_id = f"run-{number}"
        assert [event.step_index for event in await reader.list_events(run_id=run_id)] == [0, 1, 2, 3]
        assert [each.messages for each in await reader.list_snapshots(run_id=run_id)] == [
            history(step + 1, run_id) for step in range(4)
        ]


async def test_the_session_was_deleted(database: SqliteDatabase) -> None:
    """HS-8: A store that remembers a deleted session makes it anew: what is stored is what it wrote since."""
    store = store_of(database)
    event = StepEvent(run_id=RUN, kind="run_started", idempotency_key="k")
    await store.append_event(event)
    for again in (event, replace(event, idempotency_key="l")):
        await D1StateStore(database).delete_session(THREAD)
        assert await store.list_events(run_id=RUN) == []
        await store.append_event(again)
        assert await store.list_events(run_id=RUN) == [again]


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_failed_write(database: SqliteDatabase, moment: Any) -> None:
    """HS-7: After an error the step is stored whole or not at all, and a repetition under its key has one effect."""
    faulty = FaultyDatabase(database)
    store = store_of(faulty)
    await store.save_snapshot(snapshot(1, history(1), idempotency_key="1:a"))
    faulty.fail(moment, message="internal error; reference = x")
    again = snapshot(2, history(3), idempotency_key="2:a")
    with pytest.raises(Exception, match="internal error"):
        await store.save_snapshot(again)
    await store.save_snapshot(again)
    assert await store_of(database).list_snapshots(run_id=RUN) == [
        snapshot(1, history(1), idempotency_key="1:a"),
        again,
    ]


async def test_usage_is_counted_once(database: SqliteDatabase) -> None:
    """HS-10: The tokens of each new response are recorded with the snapshot that stores it, once."""
    store = store_of(database, usage=True)
    for number in (2, 4, 4):
        await store.save_snapshot(snapshot(number, history(number)))
    rollup = await D1UsageStore(database).get_rollup(THREAD)
    assert (rollup.tokens.prompt, rollup.tokens.completion) == (20, 10)


FOREIGN: dict[str, Any] = {
    "no step": {"role": "user"},
    "a newer field": {"step": "event", "fields": {"run_id": RUN, "novelty": 1}},
    "no time": {"step": "event", "fields": {"run_id": RUN, "kind": "run_started", "timestamp": "yesterday"}},
    "missing messages": {"step": "snapshot", "fields": {"run_id": RUN, "step_index": 1, "parts": [[0, 9]]}},
    "no message": {"step": "snapshot", "fields": {"run_id": RUN, "step_index": 1, "parts": [[0, 1]]}},
}


@pytest.mark.parametrize("name", FOREIGN)
async def test_foreign_steps(database: SqliteDatabase, name: str) -> None:
    """HS-4: Steps of another program are an error that names their session. They stay."""
    await D1StateStore(database).append_messages(THREAD, [FOREIGN[name]], create="x")
    store = store_of(database)
    is_snapshot = FOREIGN[name].get("step") == "snapshot"
    reading = store.latest_snapshot(run_id=RUN) if is_snapshot else store.list_events(run_id=RUN)
    with pytest.raises(ForeignValueError, match=f"{THREAD}.*another program"):
        await reading
    assert (await D1StateStore(database).load_state(THREAD, required=True)).messages == [FOREIGN[name]]


async def test_bad_input(database: SqliteDatabase) -> None:
    """HS-4: What JSON cannot hold is refused by name, and nothing is stored."""
    store = store_of(database)
    bad = ModelRequest(parts=[UserPromptPart("x")], metadata={"x": float("nan")})
    with pytest.raises(ForeignValueError, match=r"message 1 of run 'run-1'.*nan"):
        await store.save_snapshot(snapshot(1, [*history(1), bad]))
    with pytest.raises(ForeignValueError, match="StepEvent of run 'run-1'"):
        await store.append_event(StepEvent(run_id=RUN, kind="run_started", error="\ud800"))
    with pytest.raises(StateSizeExceededError):
        await store.save_snapshot(snapshot(1, [ModelRequest(parts=[UserPromptPart("x" * 2_000_000)])]))
    with pytest.raises(InvalidArgumentError, match="run_id"):
        await store.register_run(RunRecord(run_id=""))
    assert await store.list_snapshots(run_id=RUN) == []


async def test_over_homes() -> None:
    """HS-5: Over homes the steps live in the home of their session, behind its fence, and go with it."""
    store = await HomeWorld().store()
    taken = snapshot(1, history(5))
    await store_of(store.session_homes, fencing_token=4).save_snapshot(taken)
    with pytest.raises(StaleFencingTokenError):
        await store_of(store.session_homes, fencing_token=3).save_snapshot(replace(taken, step_index=2))
    assert await store_of(store.session_homes).list_snapshots(run_id=RUN) == [taken]
    await store.delete_session(THREAD)
    assert await store_of(store.session_homes).list_snapshots(run_id=RUN) == []
