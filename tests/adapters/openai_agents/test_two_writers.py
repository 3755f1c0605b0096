"""Two writers of one conversation, and what goes wrong between a call and its reply."""

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from agents import Agent, ModelResponse, Usage

from agents_store_cloudflare import LockObject, StreamObject, create_cloudflare_store
from agents_store_cloudflare.adapters.openai_agents import D1Session, OrphanToolOutputError, usage_entries
from agents_store_cloudflare.adapters.openai_agents.tool_calls import MAX_KNOWN
from agents_store_cloudflare.contract.errors import (
    D1StateError,
    InvalidArgumentError,
    MissingFencingTokenError,
    StaleFencingTokenError,
    StateSizeExceededError,
)
from agents_store_cloudflare.database import Row, Statement
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing import FaultyDatabase, LocalObjects, SqliteDatabase
from agents_store_cloudflare.testing.conformance.openai_items import ANSWER, CALL, OUTPUT, texts, users
from agents_store_cloudflare.testing.faults import Moment
from agents_store_cloudflare.usage import D1UsageStore
from tests.adapters.two_writers import THREAD, TwoWriters
from tests.homes.worlds import HomeWorld

UNKNOWN = "internal error; reference = x"


class TestTwoWriters(TwoWriters):
    """OA-2: the holder whose lock was lost is refused by name; a lost reply has one effect. Both texts stay without a lock."""

    too_large = StateSizeExceededError

    def writer(self, database: Any, **token: Any) -> D1Session:
        """Return a session object of its own."""
        return D1Session(THREAD, database, **token)

    async def load(self, writer: D1Session) -> Any:
        """Return the items."""
        return await writer.get_items()

    async def write(self, writer: D1Session, loaded: Any, text: str) -> None:
        """Add one item."""
        await writer.add_items(users(text))

    async def texts(self, database: Any) -> list[str]:
        """Return the texts of all items."""
        return texts(await D1Session(THREAD, database).get_items())

    @pytest.mark.parametrize("change", ["pop_item", "clear_session"])
    async def test_the_stalled_holder_removes_nothing(self, database: SqliteDatabase, change: str) -> None:
        """OA-2: A holder whose lock was lost cannot remove what a newer holder wrote."""
        old, new = self.writer(database, fencing_token=3), self.writer(database, fencing_token=4)
        await new.add_items(users("new"))
        with pytest.raises(StaleFencingTokenError):
            await getattr(old, change)()
        assert await self.texts(database) == ["new"]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("change", ["add", "pop", "clear"])
async def test_a_reply_that_is_lost_once(database: SqliteDatabase, change: str, moment: Moment) -> None:
    """OA-3: A call with a lost reply is sent again and has one effect."""
    faulty = FaultyDatabase(database)
    session = D1Session("s", faulty)
    await session.add_items(users("a", "b"))
    faulty.fail(moment)
    match change:
        case "add":
            await session.add_items(users("c"))
        case "pop":
            assert await session.pop_item() == users("b")[0]
        case _:
            await session.clear_session()
    expected = {"add": ["a", "b", "c"], "pop": ["a"], "clear": []}[change]
    assert texts(await D1Session("s", database).get_items()) == expected


@pytest.mark.parametrize("change", ["get_items", "add_items", "pop_item", "clear_session"])
async def test_a_database_that_fails(database: SqliteDatabase, change: str) -> None:
    """OA-3: An error never becomes an empty history, and stored items stay."""
    faulty = FaultyDatabase(database)
    session = D1Session("s", faulty)
    await session.add_items(users("a"))
    faulty.fail("before", message=UNKNOWN)
    with pytest.raises(D1StateError):
        await getattr(session, change)(*([users("b")] if change == "add_items" else []))
    assert texts(await session.get_items()) == ["a"]


@pytest.mark.parametrize("change", ["add", "pop", "clear"])
async def test_a_cancelled_change_has_ended(database: SqliteDatabase, change: str) -> None:
    """OA-4: A caller that is cancelled twice gets its cancellation when the change is stored."""
    slow = _Slow(database)
    session = D1Session("s", slow)
    await session.add_items(users("a", "b"))
    slow.open = asyncio.Event()
    call = {"add": lambda: session.add_items(users("c")), "pop": session.pop_item, "clear": session.clear_session}[
        change
    ]
    task = asyncio.ensure_future(call())
    for _ in range(2):
        await asyncio.sleep(0.001)
        task.cancel()
    await asyncio.sleep(0.001)
    assert not task.done()
    slow.open.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (
        texts(await D1Session("s", database).get_items()) == {"add": ["a", "b", "c"], "pop": ["a"], "clear": []}[change]
    )


async def test_an_output_without_its_call(database: SqliteDatabase) -> None:
    """OA-5: An output without its call is refused. The call may be stored before, or come in the same list."""
    session = D1Session("s", database)
    with pytest.raises(OrphanToolOutputError, match="call-1") as raised:
        await session.add_items([*users("q"), OUTPUT, CALL])  # type: ignore[list-item]
    assert raised.value.call_ids == ["call-1"]
    assert await session.get_items() == []
    await session.add_items([CALL])  # type: ignore[list-item]
    await D1Session("s", database).add_items([OUTPUT])  # type: ignore[list-item]
    await session.clear_session()
    with pytest.raises(OrphanToolOutputError):
        await session.add_items([OUTPUT])  # type: ignore[list-item]
    await D1Session("s", database, check_tool_outputs=False).add_items([OUTPUT])  # type: ignore[list-item]
    assert await session.get_items() == [OUTPUT]


async def test_the_calls_that_are_remembered_have_a_bound(database: SqliteDatabase) -> None:
    """OA-5: An older call costs a read of the history, and its output is accepted."""
    session = D1Session("s", database)
    calls: list[Any] = [{**CALL, "call_id": f"call-{n}"} for n in range(MAX_KNOWN + 5)]
    await session.add_items(calls)
    assert len(session._known.ids) == MAX_KNOWN  # pyright: ignore[reportPrivateUsage]
    outputs: list[Any] = [{**OUTPUT, "call_id": "call-0"}]
    await session.add_items(outputs)
    assert len(session._known.ids) == MAX_KNOWN  # pyright: ignore[reportPrivateUsage]
    assert (await session.get_items(limit=1)) == outputs


async def test_a_default_limit_cuts_no_tool_call_in_two(database: SqliteDatabase) -> None:
    """OA-6: The items of a limited read have no output without its call."""
    session = D1Session("s", database, session_settings={"limit": 2})
    await session.add_items([*users("q"), CALL, OUTPUT, ANSWER])  # type: ignore[list-item]
    assert await session.get_items() == [ANSWER]
    assert await session.get_items(limit=2) == [OUTPUT, ANSWER]
    session.session_settings = None
    assert len(await session.get_items()) == 4


async def test_usage_is_counted_once(database: SqliteDatabase) -> None:
    """OA-7: A repeated result changes no total."""
    session = D1Session("s", database)
    await session.add_items(users("q"))
    result = _Result([_answer("r1"), _answer("r2")])
    entries = await session.record_usage(result)
    assert await session.record_usage(result) == entries
    assert [(entry.id, entry.step_count, entry.model) for entry in entries] == [("s:r1", 0, "gpt"), ("s:r2", 1, "gpt")]
    rollup = await D1UsageStore(database).get_rollup("s")
    assert (rollup.tokens.prompt, rollup.tokens.completion, rollup.tokens.cached, rollup.tokens.reasoning) == (
        20,
        10,
        8,
        4,
    )
    assert await session.record_usage(_Result([])) == []
    named = _Result([_answer(None)])
    for _ in range(2):
        await session.record_usage(named, commit_id="turn 2")
    assert (await D1UsageStore(database).get_rollup("s")).tokens.prompt == 30
    assert usage_entries(named, session_id="s", model="other", run_id="r", first_step=4)[0].step_count == 4


async def test_the_session_is_an_ordinary_one(database: SqliteDatabase) -> None:
    """OA-1: The state store reads the items as messages, and a deletion removes them."""
    session = D1Session("s", database, agent_type="guide")
    await session.add_items([CALL, OUTPUT])  # type: ignore[list-item]
    store = D1StateStore(database)
    state = await store.load_state("s", required=True)
    assert (state.agent_type, state.messages) == ("guide", [CALL, OUTPUT])
    await store.save_checkpoint("s")
    assert await session.pop_item() == OUTPUT
    await store.delete_session("s")
    assert await session.get_items() == []


@pytest.mark.parametrize("limit", [2**24, 2**24 + 1, sys.maxsize, 10**30])
async def test_a_limit_above_any_number_of_items(database: SqliteDatabase, limit: int) -> None:
    """OA-1: A limit above the number of items means all, however large it is."""
    await D1Session("s", database).add_items(users("a", "b"))
    assert await D1Session("s", database).get_items(limit) == users("a", "b")
    assert await D1Session("s", database, session_settings={"limit": limit}).get_items() == users("a", "b")


async def test_bad_input(database: SqliteDatabase) -> None:
    """OA-8: Bad input gives a clear error, and nothing is stored."""
    session = D1Session("s", database)
    bad: Any
    for bad, error, words in [
        (["text"], InvalidArgumentError, "item 0 must be a JSON object, got str"),
        ([*users("a"), {"role": "user", "content": {1, 2}}], TypeError, "set"),
        ([{"role": "user", "content": float("nan")}], ValueError, "nan|NaN|finite"),
        ([{"role": "user", "content": "x" * 3_000_000}], StateSizeExceededError, "3,0"),
    ]:
        with pytest.raises(error, match=words):
            await session.add_items(bad)
    for bad in (True, "3", 1.5):
        with pytest.raises(InvalidArgumentError, match="limit"):
            await session.get_items(limit=bad)
    assert await session.get_items() == []
    with pytest.raises(MissingFencingTokenError):
        D1Session("s", database, fencing_token=None)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="session_id"):
        D1Session("", database)
    assert repr(session) == "D1Session('s')"


async def test_a_session_in_a_home() -> None:
    """OA-2, OA-7: one lock covers it and the state; a deletion takes it; its usage is recorded by the usage store, which the error says."""
    store = await HomeWorld().store()
    session = D1Session("s", store.session_homes, fencing_token=4)
    await session.add_items(users("a"))
    with pytest.raises(StaleFencingTokenError):
        await D1Session("s", store.session_homes, fencing_token=3).add_items(users("late"))
    with pytest.raises(StaleFencingTokenError):
        await store.state_store.update_status("s", "late", fencing_token=3)
    result = _Result([_answer("r1")])
    with pytest.raises(InvalidArgumentError, match="usage_store"):
        await session.record_usage(result)
    await store.usage_store.record_entries(usage_entries(result, session_id="s"), commit_id="c")
    assert (await store.usage_store.get_rollup("s")).tokens.prompt == 10
    assert texts(await D1Session("s", store.session_homes).get_items()) == ["a"]
    await store.delete_session("s")
    assert await D1Session("s", store.session_homes).get_items() == []


async def test_the_homes_of_a_store_without_homes(database: SqliteDatabase) -> None:
    """OA-1: they are its database, and usage is recorded there too."""
    store = create_cloudflare_store(db=database, streams=LocalObjects(StreamObject), locks=LocalObjects(LockObject))
    session = D1Session("s", store.session_homes)
    await session.add_items(users("a"))
    assert texts(await D1Session("s", database).get_items()) == ["a"]
    await session.record_usage(_Result([_answer("r1")]))
    assert (await store.usage_store.get_rollup("s")).tokens.prompt == 10


class _Slow:
    """A database whose batches wait at an open door."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database
        self.open: asyncio.Event | None = None

    async def batch(self, statements: Any) -> Any:
        if self.open is not None:
            await self.open.wait()
        return await self._database.batch(statements)


class _Result:
    """The parts of a run's result that usage is taken from."""

    def __init__(self, answers: list[ModelResponse]) -> None:
        self.raw_responses = answers
        self.last_agent: Agent[None] = Agent(name="guide", model="gpt")


def _answer(response_id: str | None) -> ModelResponse:
    usage = Usage(requests=1, input_tokens=10, output_tokens=5, total_tokens=15)
    usage.input_tokens_details.cached_tokens = 4
    usage.output_tokens_details.reasoning_tokens = 2
    return ModelResponse(output=[], usage=usage, response_id=response_id)


class LateDatabase:
    """A database whose next reply comes when the test lets it."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database
        self.is_late = False
        self.is_done, self.may_come = asyncio.Event(), asyncio.Event()

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        is_late, self.is_late = self.is_late, False
        rows = await self._database.batch(statements)
        if is_late:
            self.is_done.set()
            await self.may_come.wait()
        return rows


@pytest.mark.parametrize("waiting", ["add_items", "get_items"])
@pytest.mark.parametrize("removal", ["clear_session", "pop_item"])
async def test_a_call_removed_while_a_reply_is_late(database: SqliteDatabase, waiting: str, removal: str) -> None:
    """OA-5: A reply that comes after the call was removed does not make the call known again."""
    late = LateDatabase(database)
    session: Any = D1Session(THREAD, late)
    await session.add_items([*users("x"), *([CALL] if waiting == "get_items" else [])])
    late.is_late = True
    first = asyncio.ensure_future(session.get_items() if waiting == "get_items" else session.add_items([CALL]))
    await late.is_done.wait()
    await getattr(session, removal)()
    late.may_come.set()
    await first
    with pytest.raises(OrphanToolOutputError):
        await session.add_items([OUTPUT])
    assert OUTPUT not in await session.get_items()


@pytest.mark.parametrize("removal", ["clear_session", "pop_item", "delete", "delete and add"])
async def test_a_call_that_another_session_object_removed(database: SqliteDatabase, removal: str) -> None:
    """OA-5: an output is refused also where another object, or another Worker, has removed its call since it was read."""
    mine: Any = D1Session(THREAD, database)
    theirs: Any = D1Session(THREAD, database)
    await mine.add_items([*users("x"), CALL])
    if removal.startswith("delete"):
        await D1StateStore(database).delete_session(THREAD)
        if removal == "delete and add":
            await theirs.add_items(users("y"))
    else:
        await getattr(theirs, removal)()
    before = await theirs.get_items()
    with pytest.raises(OrphanToolOutputError):
        await mine.add_items([OUTPUT])
    assert await theirs.get_items() == before


async def test_an_output_after_others_have_removed_something_else(database: SqliteDatabase) -> None:
    """OA-5: where the call is still there, the output is added; one that answers a known call costs one batch."""
    mine: Any = D1Session(THREAD, database)
    theirs: Any = D1Session(THREAD, database)
    await mine.add_items([*users("x"), CALL, *users("y")])
    await theirs.pop_item()
    await mine.add_items([OUTPUT])
    assert await mine.get_items() == [*users("x"), CALL, OUTPUT]
    another: Any = {**CALL, "call_id": "another"}
    await mine.add_items([another])
    sent = database.batches
    await mine.add_items([{**OUTPUT, "call_id": "another"}])
    assert database.batches == sent + 1
