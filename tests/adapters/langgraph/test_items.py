"""`D1Store`: items in graphs, time to live, bounds of searches, two writers, faults, bad input, costs."""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from langgraph.config import get_store
from langgraph.store.base import GetOp, InvalidNamespaceError, Item, ListNamespacesOp, MatchCondition, PutOp, SearchOp

from agents_store_cloudflare.adapters.langgraph import (
    D1Saver,
    D1Store,
    ForeignValueError,
    StaleItemError,
    WideSearchError,
)
from agents_store_cloudflare.contract.errors import D1StateError, InvalidArgumentError, StaleFencingTokenError
from agents_store_cloudflare.database import Row, Statement
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing import FakeClock, FaultyDatabase, SqliteDatabase
from tests.adapters.langgraph.graphs import config_of, messages_graph
from tests.adapters.two_writers import NEW, OLD, THREAD, TwoWriters

ADA = ("users", "ada")
ROWS = [
    Statement("SELECT * FROM __agents_graph_items ORDER BY 1, 2"),
    Statement("SELECT session_id, token FROM __agents_fences"),
]
UNKNOWN = "internal error; reference = x"


@pytest.fixture
async def database(clock: FakeClock) -> SqliteDatabase:
    database = SqliteDatabase(now_ms=clock.now_ms)
    await run_migration(database)
    return database


async def _value(store: D1Store, key: str = "k") -> Any:
    item = await store.aget(ADA, key)
    return None if item is None else item.value


class TestTwoWriters(TwoWriters):
    conflict = StaleItemError
    too_large = ForeignValueError

    def writer(self, database: Any, **token: Any) -> D1Store:
        return D1Store(database, session_id=THREAD, item_check=True, **token)

    async def load(self, writer: D1Store) -> Any:
        return await writer.aget(ADA, "texts") or ()

    async def write(self, writer: D1Store, loaded: Any, text: str) -> None:
        before: list[str] = loaded.value["texts"] if loaded else []
        await writer.aput(ADA, "texts", {"texts": [*before, text]})

    async def texts(self, database: Any) -> list[str]:
        found = await D1Store(database).aget(ADA, "texts")
        return [] if found is None else found.value["texts"]


async def test_in_a_graph(database: SqliteDatabase) -> None:
    """LG-16: A node reads and writes items of other threads."""

    async def remember(state: Any) -> dict[str, Any]:
        store = get_store()
        said = [item.value["said"] for item in await store.asearch(ADA)]
        await store.aput(ADA, str(len(said)), {"said": state["messages"][-1].content})
        return {"messages": [{"role": "assistant", "content": f"before: {said}"}]}

    builder = messages_graph().add_node("remember", remember).add_edge("__start__", "remember")
    answers: list[str] = []
    for number in range(3):
        graph = builder.compile(checkpointer=D1Saver(database), store=D1Store(database))
        question = {"messages": [{"role": "user", "content": f"question {number}"}]}
        state = await graph.ainvoke(question, config_of(f"thread {number}"))
        answers.append(state["messages"][-1].content)
    assert answers == ["before: []", "before: ['question 0']", "before: ['question 0', 'question 1']"]


async def test_reads_come_before_puts(database: SqliteDatabase) -> None:
    """LG-16: Within one call reads come before puts, and the last put of an item counts."""
    store = D1Store(database)
    await store.aput(ADA, "k", {"n": 1})
    ops: list[Any] = [
        PutOp(ADA, "k", {"n": 2}),
        PutOp(("new",), "k", {"n": 2}),
        GetOp(ADA, "k"),
        SearchOp(ADA),
        ListNamespacesOp(),
        PutOp(ADA, "k", {"n": 3}),
        GetOp(ADA, "missing"),
    ]
    found = await store.abatch(ops)
    item = cast("Item", found[2])
    assert [found[index] for index in (0, 1, 5, 6)] == [None] * 4
    assert item.value == {"n": 1}
    assert [each.value for each in cast("list[Item]", found[3])] == [{"n": 1}]
    assert found[4] == [ADA]
    assert await _value(store) == {"n": 3}
    assert await store.abatch([]) == []


async def test_when_items_were_written(clock: FakeClock, database: SqliteDatabase) -> None:
    """LG-16: An item keeps the time of its creation. A deleted item is made anew."""
    store = D1Store(database)
    times: list[tuple[datetime, datetime]] = []
    for value in ({"n": 1}, {"n": 2}, None, {"n": 3}):
        await store.abatch([PutOp(ADA, "k", value)])
        item = await store.aget(ADA, "k")
        times += [] if item is None else [(item.created_at, item.updated_at)]
        await clock.advance(1.5)
    start = datetime.fromtimestamp((clock.now_ms() - 6_000) / 1000, UTC)
    seconds = [tuple((each - start).total_seconds() for each in pair) for pair in times]
    assert seconds == [(0, 0), (0, 1.5), (4.5, 4.5)]


async def test_filters(database: SqliteDatabase) -> None:
    """LG-16: A missing key is None, numbers compare only with numbers, and a filter is data, not SQL."""
    store = D1Store(database)
    values: list[dict[str, Any]] = [
        {"n": 1, "tags": ["a"], "o": {"x": 1, "y": 2}},
        {"n": 2.5, "tags": [], "none": None},
        {"n": "3", "tags": ["a", "b"], "o": {}},
        {"n": True},
        {"it's": '") OR 1=1 --', "ключ": "да"},
    ]
    for number, value in enumerate(values):
        await store.aput(ADA, str(number), value)

    async def keys(wanted: dict[str, Any]) -> str:
        return "".join(item.key for item in await store.asearch(ADA, filter=wanted))

    assert await keys({"none": None}) == "01234"
    assert await keys({"none": {"$ne": None}}) == ""
    assert await keys({"n": {"$gt": 0}}) == "01"
    assert await keys({"n": {"$gte": 1, "$lt": 2.5}}) == "0"
    assert await keys({"n": {"$lte": 2.5}}) == "01"
    assert await keys({"n": {"$lt": 10**30}}) == "01"
    assert await keys({"n": 1}) == "03"
    assert await keys({"n": {"$ne": 1}}) == "124"
    assert await keys({"tags": ["a"]}) == "0"
    assert await keys({"o": {"x": 1}}) == "0"
    assert await keys({"o": {"$eq": {"x": 1}}}) == ""
    assert await keys({"o": {"$eq": {"y": 2, "x": 1}}}) == "0"
    assert await keys({"o": {}}) == "02"
    assert await keys({"o": '{"x":1,"y":2}'}) == ""
    assert await keys({"o": {"$eq": {"x": 1, "z": None}}}) == ""
    assert await keys({"it's": '") OR 1=1 --', "ключ": "да"}) == "4"
    assert await keys({}) == "01234"


async def test_prefixes(database: SqliteDatabase) -> None:
    """LG-16: A prefix consists of whole labels."""
    store = D1Store(database)
    for namespace in (("a",), ("a", "b"), ("a b",), ("ab",), ("a", "b", "c"), ("b", "a")):
        await store.aput(namespace, "k", {"n": 1})
    found = [item.namespace for item in await store.asearch(("a",))]
    assert found == [("a",), ("a", "b"), ("a", "b", "c")]
    assert await store.alist_namespaces(prefix=("a", "*")) == [("a", "b"), ("a", "b", "c")]
    assert await store.alist_namespaces(suffix=("a",), max_depth=1) == [("a",), ("b",)]
    assert await store.alist_namespaces(max_depth=1, limit=2, offset=1) == [("a b",), ("ab",)]


# Time to live


async def test_time_to_live(clock: FakeClock, database: SqliteDatabase) -> None:
    """LG-19: An item expires this long after its last read or write, and no later answer has it."""
    store = D1Store(database, ttl={"default_ttl": 1})
    for key in ("got", "searched", "filtered", "peeked", "left"):
        await store.aput(ADA, key, {"key": key})
    await store.aput(ADA, "stays", {"key": "stays"}, ttl=None)
    await store.aput(("short",), "k", {"key": "k"}, ttl=0.5)
    for _ in range(3):
        await clock.advance(40)
        assert await store.aget(ADA, "got") is not None
        await store.asearch(ADA, filter={"key": {"$ne": "x"}}, limit=1, offset=1)
        await store.asearch(ADA, filter={"key": "searched"})
        await store.aget(ADA, "peeked", refresh_ttl=False)
        await store.asearch(ADA, refresh_ttl=False)
    assert [item.key for item in await store.asearch(ADA)] == ["got", "searched", "stays"]
    assert await store.aget(ADA, "left") is None
    assert await store.alist_namespaces() == [ADA]


async def test_reads_that_keep_nothing(clock: FakeClock, database: SqliteDatabase) -> None:
    """LG-19: With refresh_on_read off a read does not renew an item's time to live, and a put does."""
    store = D1Store(database, ttl={"default_ttl": 1, "refresh_on_read": False})
    await store.aput(ADA, "k", {"n": 1})
    await clock.advance(40)
    assert await _value(store) == {"n": 1}
    await store.aput(ADA, "put", {"n": 1})
    await clock.advance(40)
    assert (await _value(store), await _value(store, "put")) == (None, {"n": 1})


async def test_expired_rows_go(clock: FakeClock, database: SqliteDatabase) -> None:
    """LG-19: Each call with puts removes up to 20 expired rows. `sweep_ttl` removes all, also of deleted items. Living items stay."""
    store = D1Store(database, ttl={})
    await store.abatch([PutOp(ADA, f"{number}", {"n": number}, ttl=1) for number in range(1_230)])
    await store.aput(ADA, "stays", {"n": 0})
    await store.aput(ADA, "deleted", {"n": 0})
    await store.adelete(ADA, "deleted")
    await clock.advance(660)
    await store.aput(ADA, "another", {"n": 0})
    assert len((await database.batch(ROWS))[0]) == 1_232 - 20 + 1
    assert await store.sweep_ttl() == 1_211
    assert await store.sweep_ttl() == 0
    assert [row[1] for row in (await database.batch(ROWS))[0]] == ["another", "stays"]


async def test_without_time_to_live(clock: FakeClock, database: SqliteDatabase) -> None:
    """LG-19: A store without a time to live refuses one, and does not return expired items of another store."""
    plain, timed = D1Store(database), D1Store(database, ttl={})
    with pytest.raises(NotImplementedError):
        await plain.aput(ADA, "k", {"n": 1}, ttl=1)
    with pytest.raises(InvalidArgumentError, match="ttl"):
        await plain.abatch([PutOp(ADA, "k", {"n": 1}, ttl=1)])
    await timed.aput(ADA, "k", {"n": 1}, ttl=1)
    await clock.advance(60)
    assert await _value(plain) is None


@pytest.mark.parametrize("wrong_s", [3_600, -3_600], ids=["an hour ahead", "an hour behind"])
async def test_a_wrong_clock_takes_nothing_from_others(
    clock: FakeClock, database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch, wrong_s: int
) -> None:
    """LG-19: A Worker with a wrong clock reads and keeps the living items of others, and its own last their time."""

    def wrong() -> None:
        monkeypatch.setattr(time, "time_ns", lambda: (clock.now_ms() + wrong_s * 1_000) * 1_000_000)

    def right() -> None:
        monkeypatch.setattr(time, "time_ns", lambda: clock.now_ms() * 1_000_000)

    right()
    store = D1Store(database, ttl={"default_ttl": 1, "refresh_on_read": False})
    await store.aput(ADA, "theirs", {"n": 1})
    wrong()
    assert await store.sweep_ttl() == 0
    await store.aput(ADA, "own", {"n": 2})
    assert [item.key for item in await store.asearch(ADA)] == ["own", "theirs"]
    assert await _value(store, "theirs") == {"n": 1}
    right()
    assert [item.key for item in await store.asearch(ADA)] == ["own", "theirs"]
    await clock.advance(61)
    wrong()
    assert await store.asearch(ADA) == []
    assert await store.sweep_ttl() == 2


# Bounds


async def test_a_search_has_a_bound(database: SqliteDatabase) -> None:
    """LG-18: A search looks at a limited number of rows. If that is not enough, it raises, and never returns a short list."""
    store = D1Store(database, search_rows=50)
    await store.abatch([PutOp(ADA, f"{number:03}", {"n": number}) for number in range(50)])
    assert len(await store.asearch(ADA, limit=100)) == 50
    assert [item.key for item in await store.asearch(ADA, filter={"n": 49})] == ["049"]
    await store.aput(ADA, "050", {"n": 50})
    assert len(await store.asearch(ADA, limit=30, offset=20)) == 30
    for asked in ({"limit": 51}, {"limit": 10, "offset": 45}, {"filter": {"n": 50}}):
        with pytest.raises(WideSearchError) as raised:
            await store.asearch(ADA, **cast("Any", asked))
        assert (raised.value.prefix, raised.value.rows) == (list(ADA), 50)
    assert [item.key for item in await D1Store(database, search_rows=51).asearch(ADA, filter={"n": 50})] == ["050"]
    assert await store.asearch(("users", "bob"), limit=100) == []


async def test_what_was_deleted_counts_for_nothing(database: SqliteDatabase) -> None:
    """LG-18: A namespace with many more items than the bound can be emptied page by page."""
    store = D1Store(database, search_rows=50)
    await store.abatch([PutOp(ADA, f"{number:03}", {"n": number}) for number in range(300)])
    pages = 0
    while items := await store.asearch(ADA, limit=20):
        await store.abatch([PutOp(item.namespace, item.key, None) for item in items])
        pages += 1
    assert pages == 15


async def test_a_list_has_a_bound(database: SqliteDatabase) -> None:
    """LG-18: A list looks at a limited number of namespaces, whatever they hold."""
    store = D1Store(database, search_rows=20)
    for group in range(3):
        namespaces = [("a", f"{group}", f"{number:02}") for number in range(10)]
        await store.abatch([PutOp(each, f"{key}", {"n": key}) for each in namespaces for key in range(5)])
    assert len(await store.alist_namespaces(limit=20)) == 20
    assert len(await store.alist_namespaces(prefix=("a", "0"))) == 10
    assert await store.alist_namespaces(prefix=("a", "0"), suffix=("07",)) == [("a", "0", "07")]
    for asked in ({"limit": 21}, {"suffix": ("07",)}, {"max_depth": 1}):
        with pytest.raises(WideSearchError):
            await store.alist_namespaces(**cast("Any", asked))


async def test_rows_that_a_search_reads(database: SqliteDatabase) -> None:
    """LG-18: A search reads by key from the beginning of its range, and no items outside it."""
    store = D1Store(database)
    for namespace in (("a",), ADA, ("z",)):
        await store.abatch([PutOp(namespace, f"{number}", {"n": number}) for number in range(3)])
    await database.batch(
        [Statement("UPDATE __agents_graph_items SET value = 'broken' WHERE namespace NOT LIKE 'users%'")]
    )
    assert len(await store.asearch(ADA, filter={"n": {"$gte": 0}})) == 3
    with pytest.raises(ForeignValueError, match="'0'"):
        await store.asearch(("a",), filter={"n": {"$gte": 0}})


async def test_remembered_items_have_a_bound() -> None:
    """LG-20: The least recently used item is forgotten first."""
    from agents_store_cloudflare.adapters.langgraph.seen_items import MOST_FLYING, MOST_ITEMS, SeenItems

    seen = SeenItems()
    for number in range(MOST_ITEMS + 5):
        seen.see(("n", str(number)), "w", seen.moment())
    assert len(seen.expected(("n", str(number)) for number in range(MOST_ITEMS + 5))) == MOST_ITEMS
    assert seen.expected([("n", "4")]) == []
    for number in range(MOST_FLYING + 5):
        seen.begin({("n", "9"): f"w{number}"})
    assert len(seen.expected([("n", "9")])[0][2]) == MOST_FLYING + 1


# Two writers


async def test_an_item_that_others_wrote(database: SqliteDatabase) -> None:
    """LG-20: With `item_check` a put or a deletion after somebody else's write is refused by name, and nothing of the call is stored."""
    mine, others = D1Store(database, item_check=True), D1Store(database)
    await others.aput(ADA, "k", {"n": 1})
    for change in (PutOp(ADA, "k", {"n": 2}), PutOp(ADA, "k", None)):
        await mine.asearch(ADA)
        await mine.aget(ADA, "k")
        await others.abatch([change])
        before = await database.batch(ROWS)
        for late in (PutOp(ADA, "k", {"n": 9}), PutOp(ADA, "k", None)):
            with pytest.raises(StaleItemError) as raised:
                await mine.abatch([PutOp(ADA, "other", {"n": 9}), late])
            assert (raised.value.namespace, raised.value.key) == (list(ADA), "k")
            assert raised.value.facts() == {"namespace": list(ADA), "key": "k"}
        assert await database.batch(ROWS) == before
    assert await _value(mine) is None
    await others.aput(ADA, "k", {"n": 3})
    with pytest.raises(StaleItemError):  # it was not there
        await mine.aput(ADA, "k", {"n": 9})
    assert await _value(mine) == {"n": 3}
    await mine.aput(ADA, "k", {"n": 4})
    await mine.aput(ADA, "k", {"n": 5})
    await mine.adelete(ADA, "k")
    await mine.aput(ADA, "k", {"n": 6})
    await mine.aput(ADA, "never read", {"n": 7})
    assert await _value(others) == {"n": 6}


async def test_a_store_knows_its_own_writes(database: SqliteDatabase) -> None:
    """LG-20: The store recognises its own writes: concurrent puts of one item, reads beside them, and a put with an unknown outcome."""
    faults = FaultyDatabase(database)
    store = D1Store(faults, item_check=True)
    await _value(store)
    await asyncio.gather(*(store.aput(ADA, "k", {"n": number}) for number in range(5)), _value(store), _value(store))
    faults.fail("after", message=UNKNOWN)
    with pytest.raises(D1StateError) as raised:
        await store.aput(ADA, "k", {"n": 6})
    assert raised.value.outcome_unknown
    await store.aput(ADA, "k", {"n": 7})
    await D1Store(database).aput(ADA, "k", {"n": 8})
    with pytest.raises(StaleItemError):
        await store.aput(ADA, "k", {"n": 9})


async def test_the_last_put_counts(database: SqliteDatabase) -> None:
    """LG-20: Without a lock and a check the later put replaces the earlier one, as in LangGraph's stores."""
    one, other = D1Store(database), D1Store(database)
    await one.aget(ADA, "k")
    await other.aput(ADA, "k", {"n": 1})
    await one.aput(ADA, "k", {"n": 2})
    assert await _value(other) == {"n": 2}


async def test_one_lock_covers_all(database: SqliteDatabase) -> None:
    """LG-20: The fence is the session's: saver, store and state refuse an old holder alike."""
    await D1StateStore(database).create_session(THREAD, agent_type="x", fencing_token=NEW)
    before = await database.batch(ROWS)
    for op in (PutOp(ADA, "k", {"n": 1}), PutOp(ADA, "k", None)):
        with pytest.raises(StaleFencingTokenError):
            await D1Store(database, session_id=THREAD, fencing_token=OLD).abatch([op])
    assert await database.batch(ROWS) == before
    with pytest.raises(InvalidArgumentError, match="session_id"):
        D1Store(database, fencing_token=OLD)


# Faults

Write = Callable[[D1Store], Awaitable[object]]
WRITES: dict[str, Write] = {
    "put": lambda store: store.aput(ADA, "k", {"n": 2}),
    "delete": lambda store: store.adelete(ADA, "k"),
    "delete what is not there": lambda store: store.adelete(ADA, "missing"),
    "several": lambda store: store.abatch(
        [PutOp(ADA, "k", {"n": 2}), PutOp(("x",), "k", {"n": 3}), PutOp(ADA, "l", None)]
    ),
}
writes = pytest.mark.parametrize("write", WRITES)


async def _world(**options: Any) -> tuple[FaultyDatabase, D1Store, SqliteDatabase]:
    file = SqliteDatabase()
    await run_migration(file)
    await D1Store(file).abatch([PutOp(ADA, "k", {"n": 1}), PutOp(ADA, "l", {"n": 1})])
    faults = FaultyDatabase(file)
    return faults, D1Store(faults, **options), file


async def _all(file: SqliteDatabase) -> list[tuple[Any, ...]]:
    return [(item.namespace, item.key, item.value) for item in await D1Store(file).asearch((), limit=100)]


@writes
async def test_every_statement(write: str) -> None:
    """LG-17: Whichever statement fails, nothing has happened. A second call has one effect."""
    faults, store, file = await _world()
    await WRITES[write](store)
    wanted, [count] = await _all(file), faults.sent
    for index in range(count):
        faults, store, file = await _world()
        before = await file.batch(ROWS)
        faults.break_statement(index, "after")
        with pytest.raises(D1StateError, match="broken on demand"):
            await WRITES[write](store)
        assert await file.batch(ROWS) == before
        await WRITES[write](store)
        assert await _all(file) == wanted


class _Meanwhile:
    """A database that loses its first reply. Others write before the call is repeated."""

    def __init__(self, database: Any, others: Callable[[], Awaitable[object]]) -> None:
        self._faults = FaultyDatabase(database)
        self._faults.fail("after")
        self._others = others
        self._batches = 0

    async def batch(self, statements: Any) -> list[list[Row]]:
        """Run the batch."""
        self._batches += 1
        if self._batches == 2:
            await self._others()
        return await self._faults.batch(statements)


OTHERS: dict[str, tuple[PutOp, ...]] = {
    "a put": (PutOp(ADA, "k", {"n": "other"}),),
    "a deletion": (PutOp(ADA, "k", None),),
    "both": (PutOp(ADA, "k", None), PutOp(ADA, "k", {"n": "other"})),
    "fifteen": tuple(PutOp(ADA, "k", {"n": number}) for number in range(15)),
}


@pytest.mark.parametrize("mine", [{"n": 2}, None], ids=["put", "delete"])
@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize("others", OTHERS)
async def test_a_repeated_put_undoes_nothing(
    database: SqliteDatabase, mine: dict[str, Any] | None, is_there: bool, others: str
) -> None:
    """LG-17: A repeated put does not undo what others wrote after its first sending."""
    plain = D1Store(database)
    if is_there:
        await plain.aput(ADA, "k", {"n": 1})

    async def write() -> None:
        for op in OTHERS[others]:
            await plain.abatch([op])

    for options in ({}, {"item_check": True}):
        store = D1Store(_Meanwhile(database, write), **cast("Any", options))
        await store.abatch([PutOp(ADA, "k", mine)])
        last = OTHERS[others][-1].value
        assert await _value(plain) == last
        if is_there:
            await plain.aput(ADA, "k", {"n": 1})
        else:
            await plain.adelete(ADA, "k")


@pytest.mark.parametrize("lost", [1, 2, 3])
async def test_lost_replies_of_a_mixed_call(lost: int) -> None:
    """LG-17: A mixed call has one effect and one answer, whichever reply is lost. Its reads do not see its puts."""
    for spared in range(2):
        faults, store, file = await _world()
        faults.leave_alone(spared)
        faults.fail(*(["after"] * lost))  # type: ignore[arg-type]
        item, listed, found, *_ = await store.abatch(
            [
                GetOp(ADA, "k"),
                ListNamespacesOp(),
                SearchOp(ADA),
                PutOp(ADA, "k", {"n": 2}),
                PutOp(("new",), "k", {"n": 2}),
            ]
        )
        assert cast("Item", item).value == {"n": 1}
        assert listed == [ADA]
        assert [each.value for each in cast("list[Item]", found)] == [{"n": 1}, {"n": 1}]
        assert [value for *_, value in await _all(file)] == [{"n": 2}, {"n": 2}, {"n": 1}]


@writes
async def test_cancellation(write: str) -> None:
    """LG-17: A call that is cancelled at any moment has its whole effect or none."""
    _, store, file = await _world()
    before = await _all(file)
    await WRITES[write](store)
    after = await _all(file)
    for turns in range(12):
        _, store, file = await _world()
        call = asyncio.ensure_future(_called(WRITES[write], store))
        for _ in range(turns):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert await _all(file) in (before, after)
        await WRITES[write](store)
        assert await _all(file) == after


async def _called(write: Write, store: D1Store) -> None:
    await write(store)


async def test_a_value_is_fixed_before_the_call_waits(database: SqliteDatabase) -> None:
    """LG-17: Changes of a value during the call are not stored."""
    store, value = D1Store(database), {"list": [1]}
    putting = asyncio.ensure_future(store.aput(ADA, "k", value))
    await asyncio.sleep(0)
    value["list"].append(2)
    await putting
    assert await _value(store) == {"list": [1]}


# Bad input

BAD: dict[str, tuple[Any, type[Exception]]] = {
    "no mapping": (PutOp(ADA, "k", cast("Any", [1])), ForeignValueError),
    "NaN": (PutOp(ADA, "k", {"n": float("nan")}), ForeignValueError),
    "a set": (PutOp(ADA, "k", {"n": {1}}), ForeignValueError),
    "a tuple": (PutOp(ADA, "k", {"n": (1,)}), ForeignValueError),
    "a key that is no text": (PutOp(ADA, "k", cast("Any", {1: 2})), ForeignValueError),
    "half a character": (PutOp(ADA, "k", {"n": "\ud800"}), ForeignValueError),
    "2 MB": (PutOp(ADA, "k", {"n": "x" * 2_000_000}), ForeignValueError),
    "a period": (PutOp(("a.b",), "k", {"n": 1}), InvalidNamespaceError),
    "no namespace": (PutOp((), "k", {"n": 1}), InvalidNamespaceError),
    "an empty label": (GetOp(("a", ""), "k"), InvalidNamespaceError),
    "a control character": (GetOp(("a\x1fb",), "k"), InvalidNamespaceError),
    "half a character in a label": (GetOp(("a\udc00",), "k"), InvalidNamespaceError),
    "a text for a namespace": (GetOp(cast("Any", "users"), "k"), InvalidNamespaceError),
    "a long namespace": (SearchOp(("x" * 3_000,)), InvalidNamespaceError),
    "a key of control characters": (GetOp(ADA, "\x00"), InvalidArgumentError),
    "a number for a key": (GetOp(ADA, cast("Any", 1)), TypeError),
    "a query": (SearchOp(ADA, query="what is like this?"), InvalidArgumentError),
    "a negative limit": (SearchOp(ADA, limit=-1), InvalidArgumentError),
    "a negative offset": (ListNamespacesOp(offset=-1), InvalidArgumentError),
    "an unknown operator": (SearchOp(ADA, {"n": {"$in": [1]}}), InvalidArgumentError),
    "a text to compare": (SearchOp(ADA, {"n": {"$gt": "1"}}), InvalidArgumentError),
    "a number of very many digits": (SearchOp(ADA, {"n": {"$lt": 10**5_000}}), InvalidArgumentError),
    "such a number as a value": (SearchOp(ADA, {"n": 10**5_000}), InvalidArgumentError),
    "NaN in a filter": (SearchOp(ADA, {"n": float("nan")}), InvalidArgumentError),
    "a date in a filter": (SearchOp(ADA, {"n": datetime.now(UTC)}), InvalidArgumentError),
    "quotes in a key of a filter": (SearchOp(ADA, {'a"b': 1}), InvalidArgumentError),
    "half a character in a filter": (SearchOp(ADA, {"n": "\ud800"}), InvalidArgumentError),
    "a filter of very many values": (SearchOp(ADA, {str(number): 1 for number in range(500)}), InvalidArgumentError),
    "an unknown match": (ListNamespacesOp((MatchCondition(cast("Any", "infix"), ("a",)),)), InvalidArgumentError),
    "no operation": (cast("Any", "get"), InvalidArgumentError),
    "a ttl below zero": (PutOp(ADA, "k", {"n": 1}, ttl=-1), InvalidArgumentError),
    "a ttl that is no number": (PutOp(ADA, "k", {"n": 1}, ttl=cast("Any", "1")), TypeError),
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_input(database: SqliteDatabase, name: str) -> None:
    """LG-21: Bad input is refused by name before anything of the call is sent."""
    op, error = BAD[name]
    faults = FaultyDatabase(database)
    store = D1Store(faults, ttl={})
    with pytest.raises(error):
        await store.abatch([PutOp(ADA, "good", {"n": 1}), GetOp(ADA, "good"), op])
    assert faults.sent == []


async def test_bad_settings(database: SqliteDatabase) -> None:
    """LG-21: A store with settings that cannot work is refused."""
    for settings in ({"search_rows": 0}, {"ttl": {"default_ttl": 0}}, {"session_id": ""}):
        with pytest.raises(InvalidArgumentError):
            D1Store(database, **cast("Any", settings))
    with pytest.raises(TypeError):
        D1Store(database, item_check=cast("Any", "yes"))


FOREIGN = ["{", "[1]", "1", '{"a": NaN}', "null"]


@pytest.mark.parametrize("text", FOREIGN)
async def test_foreign_rows(database: SqliteDatabase, text: str) -> None:
    """LG-21: An item of another program is an error that names it. The row stays, and other items are readable."""
    store = D1Store(database)
    await store.abatch([PutOp(ADA, "k", {"n": 1}), PutOp(ADA, "l", {"n": 2})])
    await database.batch([Statement("UPDATE __agents_graph_items SET value = ?1 WHERE key = 'k'", (text,))])
    before = await database.batch(ROWS)
    with pytest.raises(ForeignValueError, match="'k'"):
        await store.aget(ADA, "k")
    for wanted in (None, {"n": 1}):
        with pytest.raises(ForeignValueError, match="'k'"):
            await store.asearch(ADA, filter=wanted)
    assert await _value(store, "l") == {"n": 2}
    assert await database.batch(ROWS) == before


async def test_without_tables() -> None:
    """LG-21: Without tables the error says how to make them, and `setup` makes them."""
    store = D1Store(SqliteDatabase())
    with pytest.raises(D1StateError, match="run_migration"):
        await store.aput(ADA, "k", {"n": 1})
    await store.setup()
    await store.aput(ADA, "k", {"n": 1})


@pytest.mark.skipif(sys.platform == "emscripten", reason="the next test tells what a Worker says")
async def test_sync_calls(database: SqliteDatabase) -> None:
    """LG-13: Synchronous calls work on CPython."""
    store = D1Store(database)
    store.put(ADA, "k", {"n": 1})
    found = store.get(ADA, "k")
    assert found is not None
    assert found.value == {"n": 1}


async def test_sync_calls_in_a_worker(database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """LG-13: In a Worker the error of a synchronous call names the calls to use."""
    monkeypatch.setattr("sys.platform", "emscripten")
    with pytest.raises(NotImplementedError, match="await"):
        D1Store(database).get(ADA, "k")


# Costs


async def test_costs(clock: FakeClock, database: SqliteDatabase) -> None:
    """LG-22: Reads are one batch, and puts another. A put writes one row. A read writes none unless it renews a time to live."""
    store, timed = D1Store(database), D1Store(database, ttl={})

    async def cost(call: Awaitable[object]) -> tuple[int, int]:
        [[[before]]] = await database.batch([Statement("SELECT total_changes()")])
        database.batches = 0
        await call
        batches = database.batches
        [[[after]]] = await database.batch([Statement("SELECT total_changes()")])
        return batches, cast("int", after) - cast("int", before)

    puts: list[Any] = [PutOp(ADA, str(number), {"n": number}) for number in range(5)]
    reads: list[Any] = [GetOp(ADA, "1"), SearchOp(ADA, {"n": 1}), ListNamespacesOp()]
    assert await cost(store.aput(ADA, "k", {"n": 1})) == (1, 1)
    assert await cost(store.abatch(puts)) == (1, 5)
    assert await cost(store.abatch(reads)) == (1, 0)
    assert await cost(store.abatch([*puts, *reads])) == (2, 5)
    assert await cost(store.adelete(ADA, "k")) == (1, 1)
    await timed.aput(ADA, "t", {"n": 9}, ttl=1)
    await clock.advance(1)
    assert await cost(timed.aget(ADA, "t")) == (1, 1)
    assert await cost(timed.aget(ADA, "t")) == (1, 0)
    assert await cost(store.aget(ADA, "t")) == (1, 0)
    assert await cost(timed.asearch(ADA, filter={"n": 9})) == (1, 0)
    assert json.dumps(await _value(store, "t")) == '{"n": 9}'
