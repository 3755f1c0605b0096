"""Who may write to a thread: the holder of its lock; without a lock, whoever saw its newest checkpoint."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from langgraph.checkpoint.base import Checkpoint, empty_checkpoint
from langgraph.checkpoint.base.id import uuid6

from agents_store_cloudflare.adapters.langgraph import D1Saver, StaleHeadError
from agents_store_cloudflare.contract.errors import StaleFencingTokenError, StaleStateError
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.testing import SqliteDatabase
from tests.adapters.langgraph.graphs import Stalled, chat, config_of, texts, turn
from tests.adapters.two_writers import NEW, OLD, THREAD, TwoWriters

SEEN = Statement("SELECT token FROM __agents_fences WHERE session_id = 'thread'")
ALL_ROWS = [
    Statement("SELECT * FROM __agents_graph_checkpoints ORDER BY 1, 2, 3"),
    Statement("SELECT * FROM __agents_graph_lines ORDER BY 1, 2, 3, 4"),
]


def _config(checkpoint_id: str | None = None, ns: str = "", thread: str = THREAD) -> Any:
    return config_of(thread, checkpoint_ns=ns, **({} if checkpoint_id is None else {"checkpoint_id": checkpoint_id}))


async def _put(saver: D1Saver, parent: Any, values: dict[str, Any], ns: str = "", thread: str = THREAD) -> Any:
    checkpoint: Checkpoint = {
        **empty_checkpoint(),
        "id": str(uuid6()),
        "channel_values": values,
        "channel_versions": dict.fromkeys(values, 1),
    }
    parent_id = parent["configurable"]["checkpoint_id"] if parent else None
    metadata: Any = {"source": "loop", "step": 1, "parents": {}, "run_id": "run"}
    return await saver.aput(_config(parent_id, ns, thread), checkpoint, metadata, dict.fromkeys(values, 1))


class TestTwoWriters(TwoWriters):
    conflict = StaleHeadError

    def unlocked(self, database: Any) -> D1Saver:
        return D1Saver(database, head_check=True)

    def writer(self, database: Any, **token: Any) -> D1Saver:
        return D1Saver(database, **token)

    async def load(self, writer: D1Saver) -> Any:
        return await writer.aget_tuple(_config()) or ()

    async def write(self, writer: D1Saver, loaded: Any, text: str) -> None:
        before: list[str] = loaded.checkpoint["channel_values"]["texts"] if loaded else []
        await _put(writer, loaded.config if loaded else None, {"texts": [*before, text]})

    async def texts(self, database: Any) -> list[str]:
        found = await D1Saver(database).aget_tuple(_config())
        return [] if found is None else found.checkpoint["channel_values"]["texts"]


async def _overtaken(database: SqliteDatabase) -> tuple[D1Saver, Any, list[Any]]:
    """Return a saver whose lock was lost, its checkpoint, and the rows after the new holder has written."""
    old, new = D1Saver(database, fencing_token=OLD), D1Saver(database, fencing_token=NEW)
    config = await _put(old, None, {"texts": ["first"]})
    await new.aget_tuple(_config())
    await _put(new, config, {"texts": ["first", "second"]})
    return old, config, await database.batch(ALL_ROWS)


Call = Callable[[D1Saver, Any], Awaitable[object]]
CALLS: dict[str, Call] = {
    "put": lambda saver, config: _put(saver, config, {"texts": ["first", "late"]}),
    "put in another namespace": lambda saver, config: _put(saver, None, {"texts": ["late"]}, ns="child:1"),
    "put_writes": lambda saver, config: saver.aput_writes(config, [("texts", ["late"])], "task"),
    "put_writes of an interrupt": lambda saver, config: saver.aput_writes(config, [("__interrupt__", "late")], "task"),
    "delete_thread": lambda saver, config: saver.adelete_thread(THREAD),
    "delete_for_runs": lambda saver, config: saver.adelete_for_runs(["run"]),
    "copy_thread": lambda saver, config: saver.acopy_thread("other", THREAD),
    "prune": lambda saver, config: saver.aprune([THREAD]),
    "prune all": lambda saver, config: saver.aprune([THREAD], strategy="delete"),
}


@pytest.mark.parametrize("call", CALLS)
async def test_every_write_of_an_old_holder(database: SqliteDatabase, call: str) -> None:
    """LG-4: Every write of an old holder is refused by name, and the rows are unchanged."""
    saver, config, rows = await _overtaken(database)
    with pytest.raises(StaleFencingTokenError) as raised:
        await CALLS[call](saver, config)
    assert raised.value.expected == NEW
    assert await database.batch(ALL_ROWS) == rows


async def test_reads_of_an_old_holder(database: SqliteDatabase) -> None:
    """LG-4: An old holder can read what the new holder wrote."""
    saver, _, _ = await _overtaken(database)
    found = await saver.aget_tuple(_config())
    assert found is not None
    assert found.checkpoint["channel_values"] == {"texts": ["first", "second"]}
    assert len([each async for each in saver.alist(_config())]) == 2


async def test_another_thread(database: SqliteDatabase) -> None:
    """LG-4: The fence belongs to one thread. On another thread the token is accepted."""
    saver, _, _ = await _overtaken(database)
    await _put(saver, None, {"texts": ["elsewhere"]}, thread="other")


async def test_a_refused_write_takes_no_fence(database: SqliteDatabase) -> None:
    """LG-5: A batch that another condition refuses leaves the fence unchanged."""
    saver = D1Saver(database, fencing_token=NEW, head_check=True)
    await saver.aget_tuple(_config())
    await _put(D1Saver(database, fencing_token=OLD), None, {"texts": ["other"]})
    with pytest.raises(StaleHeadError):
        await _put(saver, None, {"texts": ["late"]})
    assert await database.batch([SEEN]) == [[[OLD]]]


async def test_writes_that_wait_hear_of_the_refusal(database: SqliteDatabase) -> None:
    """LG-2, LG-4: A task's writes that wait for the next checkpoint are refused together with it."""
    saver, config, rows = await _overtaken(database)
    waiting = asyncio.ensure_future(saver.aput_writes(config, [("texts", ["late"])], "task"))
    await asyncio.sleep(0)
    outcomes = await asyncio.gather(_put(saver, config, {"texts": ["late"]}), waiting, return_exceptions=True)
    assert [type(each) for each in outcomes] == [StaleFencingTokenError, StaleFencingTokenError]
    assert await database.batch(ALL_ROWS) == rows


async def test_no_token_in_metadata(database: SqliteDatabase) -> None:
    """LG-4: The token is not stored with the checkpoint."""
    await turn(D1Saver(database, fencing_token=123_456_789), THREAD, "hello")
    assert "123456789" not in repr(await database.batch(ALL_ROWS))


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until the database shows the condition, because another task is at work."""
    while not await holds():  # noqa: ASYNC110 - the database sends no events
        await asyncio.sleep(0)


async def _has_text(database: Any, text: str) -> bool:
    return text in await texts(D1Saver(database), THREAD)


async def _has_checkpoints(database: Any, count: int) -> bool:
    return len([each async for each in D1Saver(database).alist(_config())]) == count


async def _stall(database: SqliteDatabase, a: D1Saver, b: D1Saver) -> Any:
    """A stalls in its model call, B runs a whole turn, then A wakes. Return A's error or answer."""
    await turn(D1Saver(database), THREAD, "before")
    model = Stalled()
    late = asyncio.ensure_future(turn(a, THREAD, "of a", model.answer))
    await model.is_called.wait()
    # The checkpoint before the call is put in the background.
    await _until(lambda: _has_text(database, "of a"))
    await turn(b, THREAD, "of b")
    model.may_go_on.set()
    [outcome] = await asyncio.gather(late, return_exceptions=True)
    return outcome


async def test_a_graph_that_stalls_under_a_lock(database: SqliteDatabase) -> None:
    """LG-4: The late run ends with the refusal. The newest checkpoint is the new holder's, and its chain is complete."""
    outcome = await _stall(database, D1Saver(database, fencing_token=OLD), D1Saver(database, fencing_token=NEW))
    assert isinstance(outcome, StaleFencingTokenError)
    found = await texts(D1Saver(database), THREAD)
    assert found[:3] == ["before", "answer 1", "review 2"]
    assert "a late answer" not in found
    assert found[-3] == "of b"


async def test_a_graph_that_stalls_without_a_lock(database: SqliteDatabase) -> None:
    """LG-5: With the head check the late run gets an error, and the chain is complete."""
    outcome = await _stall(database, D1Saver(database, head_check=True), D1Saver(database, head_check=True))
    assert isinstance(outcome, StaleHeadError)
    assert isinstance(outcome, StaleStateError)
    assert outcome.session_id == THREAD
    assert outcome.actual_head > outcome.expected_head > ""
    assert outcome.facts()["actual_head"] == outcome.actual_head
    assert "a late answer" not in await texts(D1Saver(database), THREAD)


async def test_a_graph_that_stalls_with_neither(database: SqliteDatabase) -> None:
    """LG-6: Without lock and head check both branches are kept complete."""
    outcome = await _stall(database, D1Saver(database), D1Saver(database))
    assert outcome[-2:] == ["a late answer", f"review {len(outcome) - 1}"]
    said = [
        [message.content for message in snapshot.values.get("messages", [])]
        async for snapshot in chat(D1Saver(database)).aget_state_history(config_of(THREAD))
    ]
    assert outcome in said
    assert any("of b" in each and "a late answer" not in each for each in said)


async def test_the_head_check_of_one_writer(database: SqliteDatabase) -> None:
    """LG-5: A saver that saw the newest checkpoint can go on: turn after turn, in other namespaces, and back in time."""
    saver = D1Saver(database, head_check=True)
    for text in ("one", "two"):
        await turn(saver, THREAD, text)
    await _put(saver, None, {"texts": ["sub"]}, ns="child:1")
    history = [snapshot async for snapshot in chat(saver).aget_state_history(config_of(THREAD))]
    past = next(snapshot for snapshot in history if len(snapshot.values.get("messages", [])) == 3)
    await chat(saver).ainvoke({"messages": [{"role": "user", "content": "again"}]}, past.config)
    assert (await texts(saver, THREAD))[3] == "again"


class _LateReplies:
    """A database whose replies come late. A batch is done before its sender knows it."""

    def __init__(self, database: Any) -> None:
        self._database = database
        self.may_reply = asyncio.Event()

    async def batch(self, statements: Any) -> Any:
        """Run the batch; answer when that is allowed."""
        results = await self._database.batch(statements)
        await self.may_reply.wait()
        return results


async def test_the_head_check_knows_its_own(database: SqliteDatabase) -> None:
    """LG-5: The saver accepts its own checkpoint, even if the reply to its put has not come. It still refuses others' checkpoints."""
    late = _LateReplies(database)
    late.may_reply.set()
    saver = D1Saver(late, head_check=True)
    first = await _put(saver, await saver.aget_tuple(_config()), {"texts": ["first"]})
    late.may_reply.clear()
    putting = asyncio.ensure_future(_put(saver, first, {"texts": ["first", "second"]}))
    await _until(lambda: _has_checkpoints(database, 2))
    writing = asyncio.ensure_future(saver.aput_writes(first, [("texts", ["a write"])], "task"))
    third = asyncio.ensure_future(_put(saver, first, {"texts": ["first", "third"]}))
    await _until(lambda: _has_checkpoints(database, 3))
    late.may_reply.set()
    await asyncio.gather(putting, writing, third)
    await _put(D1Saver(database), first, {"texts": ["other"]})
    with pytest.raises(StaleHeadError):
        await saver.aput_writes(first, [("__resume__", "late")], "task")


async def test_the_head_check_before_anything_was_seen(database: SqliteDatabase) -> None:
    """LG-5: A saver that never looked at the thread is not refused. A saver that found it empty is refused."""
    looked = D1Saver(database, head_check=True)
    assert await looked.aget_tuple(_config()) is None
    await _put(D1Saver(database, head_check=True), None, {"texts": ["first"]})
    with pytest.raises(StaleHeadError) as raised:
        await _put(looked, None, {"texts": ["late"]})
    assert raised.value.expected_head == ""


async def test_the_head_check_of_writes(database: SqliteDatabase) -> None:
    """LG-5: A task's writes after somebody else's checkpoint are refused too."""
    saver = D1Saver(database, head_check=True)
    config = await _put(saver, None, {"texts": ["first"]})
    await _put(D1Saver(database), config, {"texts": ["other"]})
    with pytest.raises(StaleHeadError):
        await saver.aput_writes(config, [("texts", ["late"])], "task")
    with pytest.raises(StaleHeadError):
        await saver.aput_writes(config, [("__resume__", "late")], "task")
