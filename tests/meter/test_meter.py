"""The meter on sqlite and objects in process: what is counted, for whom, and that nothing changes where nobody counts."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from agents_store_cloudflare import (
    AgentState,
    CloudflareStore,
    Cost,
    D1Cost,
    InvalidArgumentError,
    LockObject,
    ObjectCost,
    StaleStateError,
    StreamObject,
    create_cloudflare_store,
    estimate,
)
from agents_store_cloudflare.database import BatchCost, Row, SqlError, Statement
from agents_store_cloudflare.metering.meter import MeteredDatabase, OpenMeters
from agents_store_cloudflare.metering.row_count import answer, current_row_count
from agents_store_cloudflare.objects import ObjectNamespace
from agents_store_cloudflare.objects.rpc_text import (
    ask_for_rows,
    decode_reply,
    encode_reply,
    encode_request,
    split_rows,
)
from agents_store_cloudflare.testing import FaultyNamespace, LocalObjects, SqliteDatabase

FIRST_NAMES = ("ada", "bob", "cleo")


class Recorder:
    """A namespace that keeps every text that crosses it."""

    def __init__(self, inner: ObjectNamespace) -> None:
        self._inner = inner
        self.texts: list[str] = []

    async def call(self, name: str, request: str) -> str:
        reply = await self._inner.call(name, request)
        self.texts += [name, request, reply]
        return reply


class CountingDatabase(SqliteDatabase):
    """A database that reports 3 rows read and 2 written for each statement."""

    measured = 0

    async def measured_batch(self, statements: Sequence[Statement]) -> tuple[list[list[Row]], BatchCost]:
        self.measured += 1
        count = len(statements)
        return await self.batch(statements), BatchCost(statements=count, rows_read=3 * count, rows_written=2 * count)


class CountingObjects(LocalObjects):
    """Objects that report 5 rows read and 4 written for each call, if they are asked."""

    async def call(self, name: str, request: str) -> str:
        reply = await super().call(name, request)
        if not request.startswith('{"countRows":true,'):
            return reply
        return '{"rows":[5,4],' + reply[1:]


@pytest.fixture
def database() -> CountingDatabase:
    return CountingDatabase()


@pytest.fixture
def streams() -> Recorder:
    return Recorder(CountingObjects(StreamObject))


@pytest.fixture
async def store(database: CountingDatabase, streams: Recorder) -> AsyncIterator[CloudflareStore]:
    store = create_cloudflare_store(db=database, streams=streams, locks=CountingObjects(LockObject))
    await store.migrate()
    yield store
    database.close()


def _state(name: str) -> AgentState:
    return AgentState(session_id=name, agent_type="x", messages=[{"role": "user", "content": "hällo"}])


async def test_all_roles_are_counted(store: CloudflareStore, streams: Recorder) -> None:
    """CO-1: state, usage, streams, locks and migration, with their rows and bytes."""
    with store.meter() as m:
        await store.migrate()
        assert (m.d1.round_trips, m.d1.rows_read, m.objects.calls) == (1, 3, 0)
        async with store.locks.lock("s") as lock:
            await store.state_store.save(_state("s"), fencing_token=lock)
        await store.usage_store.get_rollup("s")
        assert (m.d1.round_trips, m.objects.calls, m.objects.rows_read, m.objects.rows_written) == (3, 2, 10, 8)
        before = m.cost()
        streams.texts.clear()
        await store.stream_manager.get_info("ä")
        spent = m.cost() - before
    name, request, reply = streams.texts
    asked, told = '"countRows":true,', '"rows":[5,4],'
    assert (name, asked in request, told in reply) == ("ä", True, True)
    assert spent.d1 == D1Cost()
    assert spent.objects == ObjectCost(
        calls=1,
        rows_read=5,
        rows_written=4,
        bytes_sent=len(b"\xc3\xa4") + len(request.replace(asked, "").encode()),
        bytes_received=len(reply.replace(told, "").encode()),
    )
    assert (spent.bytes_sent, spent.bytes_received) == (spent.objects.bytes_sent, spent.objects.bytes_received)


async def test_bytes_of_a_batch(database: CountingDatabase) -> None:
    """CO-1: Statements are sent without their layout. Text counts as UTF-8, a number as eight bytes, null as none."""
    meters = OpenMeters()
    with meters.open() as m:
        await MeteredDatabase(database, meters).batch([Statement("SELECT ?1, ?2,\n    ?3", ("hä", 5, None))])
    assert m.d1.bytes_sent == len("SELECT ?1, ?2,\n?3") + 3 + 8
    assert m.d1.bytes_received == 3 + 8


async def test_meters_are_independent(store: CloudflareStore) -> None:
    """CO-2: A nested meter counts its own block, and the outer one counts both. A closed meter does not change."""
    with store.meter() as outer:
        await store.state_store.exists("s")
        with store.meter() as inner:
            await store.state_store.exists("s")
        await store.state_store.exists("s")
    await store.state_store.exists("s")
    assert (outer.d1.round_trips, inner.d1.round_trips) == (3, 1)


async def test_overlapping_meters(store: CloudflareStore) -> None:
    """CO-2: meters may close in any order, also by an exception."""
    first, second = ExitStack(), ExitStack()
    a, b = first.enter_context(store.meter()), second.enter_context(store.meter())
    await store.state_store.exists("s")
    first.close()
    await store.state_store.exists("s")
    with pytest.raises(ValueError, match="mine"), second:
        raise ValueError("mine")
    await store.state_store.exists("s")
    assert (a.d1.round_trips, b.d1.round_trips) == (1, 2)


async def test_concurrent_tasks_count(store: CloudflareStore) -> None:
    """CO-2: A meter counts every task of its store, and no other store."""
    other = create_cloudflare_store(db=SqliteDatabase(), streams=LocalObjects(StreamObject))
    await other.migrate()
    with store.meter() as m:
        await asyncio.gather(
            other.state_store.exists("s"), *(store.state_store.save(_state(name)) for name in FIRST_NAMES)
        )
    assert m.d1.round_trips == len(FIRST_NAMES)


async def test_what_began_inside_counts_to_its_end(store: CloudflareStore) -> None:
    """CO-2: A call that runs when the block ends adds its rows later. A call that began before the block does not count."""
    early = asyncio.ensure_future(store.state_store.exists("s"))
    await asyncio.sleep(0)
    with store.meter() as m:
        late = asyncio.ensure_future(store.state_store.exists("s"))
        await asyncio.sleep(0)
    assert (m.d1.round_trips, m.d1.rows_read) == (1, 0)
    await asyncio.gather(early, late)
    assert (m.d1.round_trips, m.d1.rows_read) == (1, 3)


async def test_unused_it_changes_nothing(database: CountingDatabase) -> None:
    """CO-3: Without an open meter nothing is measured, and the crossing texts are the same as without a meter."""

    async def texts(*, through_a_store: bool, after_a_meter: bool) -> list[str]:
        objects = Recorder(CountingObjects(StreamObject))
        if through_a_store:
            store = create_cloudflare_store(db=database, streams=objects)
            if after_a_meter:
                with store.meter():
                    pass
            manager = store.stream_manager
        else:
            from agents_store_cloudflare import DurableObjectStreamManager

            manager = DurableObjectStreamManager(objects)
        await manager.get_info("s")
        await manager.get_info("t")
        return objects.texts

    plain = await texts(through_a_store=False, after_a_meter=False)
    assert await texts(through_a_store=True, after_a_meter=False) == plain
    assert await texts(through_a_store=True, after_a_meter=True) == plain
    store = create_cloudflare_store(db=database, streams=LocalObjects(StreamObject))
    await store.migrate()
    assert database.measured == 0


async def test_failures_count(database: CountingDatabase) -> None:
    """CO-4: A failed batch is a round trip. A call without a reply is a call, and so is its repetition."""
    objects = FaultyNamespace(CountingObjects(StreamObject))
    store = create_cloudflare_store(db=database, streams=objects)
    await store.migrate()
    state = _state("s")
    await store.state_store.save(state)
    state.version += 5
    with store.meter() as m:
        with pytest.raises(StaleStateError):
            await store.state_store.save(state)
        objects.fail("after")
        await store.stream_manager.get_info("s")
    assert (m.d1.round_trips, m.d1.rows_read) == (1, 0)
    assert (m.objects.calls, m.objects.rows_read) == (2, 5)


async def test_rows_that_nobody_counts_are_none() -> None:
    """CO-5: Sqlite and objects in process count calls and bytes but no rows, so rows and estimate are None."""
    database = SqliteDatabase()
    store = create_cloudflare_store(db=database, streams=LocalObjects(StreamObject))
    await store.migrate()  # the first one of a process also asks the objects whether they are wired
    with store.meter() as m:
        await store.migrate()
        await store.stream_manager.get_info("s")
        await store.state_store.exists("s")
    assert (m.d1.rows_read, m.d1.rows_written, m.objects.rows_read, m.objects.rows_written) == (None, None, None, None)
    assert m.objects.calls == 1
    assert m.d1.round_trips >= 2
    with pytest.raises(InvalidArgumentError, match=r"d1\.rows_read was not counted"):
        estimate(m.cost())
    database.close()


async def test_http_counts_as_a_call(database: CountingDatabase) -> None:
    """CO-4: A listener counts as a call. The data that it gets does not count."""
    store = create_cloudflare_store(db=database, streams=CountingObjects(StreamObject))
    async with store.stream_manager.create_writer("s", "a", "x") as writer:
        await writer.write({"type": "text"})
    with store.meter() as m:
        await store.stream_manager.sse_response("s")
    assert (m.objects.calls, m.objects.rows_read, m.objects.bytes_received) == (1, 0, 0)
    assert m.objects.bytes_sent > 0


async def test_a_namespace_without_http_stays_one(database: CountingDatabase, streams: Recorder) -> None:
    """CO-4: A counted namespace has HTTP only if its namespace has it."""
    from agents_store_cloudflare import StreamError

    store = create_cloudflare_store(db=database, streams=streams)
    with store.meter(), pytest.raises(StreamError, match="answers no HTTP"):
        await store.stream_manager.sse_response("s")


class _Logic:
    """An object whose calls count the rows that they name, in two halves with a wait between them."""

    async def call(self, request: str) -> str:
        for _ in range(2):
            count = current_row_count()
            if count is not None:
                count.add(read=int(request[-2]), written=1)
            await asyncio.sleep(0)
        return encode_reply(None)

    async def alarm(self) -> None: ...


async def test_each_call_pays_for_itself() -> None:
    """CO-6: Calls that alternate in one object each report their own rows. A call that does not ask gets none."""
    replies = await asyncio.gather(
        *(answer(_Logic(), ask_for_rows(encode_request("x", {"n": n}))) for n in (1, 2, 3)),
        answer(_Logic(), encode_request("x", {"n": 4})),
    )
    assert [split_rows(reply)[1] for reply in replies] == [(2, 2), (4, 2), (6, 2), None]
    assert all(decode_reply(split_rows(reply)[0]).head == {"ok": None} for reply in replies)


def test_rows_do_not_disturb_a_reply() -> None:
    """CO-6: Without the rows, the reply is the same text as an unmetered one, also with user JSON that looks like the rows."""
    lookalike: Mapping[str, Any] = {"rows": [1, 2], "countRows": True}
    reply = encode_reply(dict(lookalike), '{"rows":[1,2],"x":1}')
    assert split_rows(reply) == (reply, None)
    assert split_rows('{"rows":[7,8],' + reply[1:]) == (reply, (7, 8))


async def test_a_failed_batch_is_raised_as_it_is(database: CountingDatabase) -> None:
    """CO-4: A meter does not change an error."""
    meters = OpenMeters()
    with meters.open() as m, pytest.raises(SqlError, match="no such table"):
        await MeteredDatabase(database, meters).batch([Statement("SELECT * FROM missing")])
    assert m.d1.round_trips == 1


def test_a_meter_takes_what_happened_elsewhere() -> None:
    """CO-2: `add` adds a cost from elsewhere. A `Cost` that was read before does not change."""
    from agents_store_cloudflare import Meter

    m = Meter()
    before = m.cost()
    m.add(Cost(objects=ObjectCost(calls=2)))
    assert (before.objects.calls, m.objects.calls) == (0, 2)
