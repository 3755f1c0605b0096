"""The meter on real D1 and real Durable Objects: rows by their own count, and nothing asked of JavaScript where nobody counts."""

import asyncio
from typing import Any

import pytest

from agents_store_cloudflare import (
    AgentState,
    CloudflareStore,
    D1Cost,
    DurableObjectStreamManager,
    StreamOptions,
    create_cloudflare_store,
    estimate,
)
from agents_store_cloudflare.cloudflare.d1 import D1Database
from agents_store_cloudflare.cloudflare.namespace import CloudflareNamespace
from agents_store_cloudflare.cloudflare.object_host import CloudflareHost
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.metering.meter import MeteredDatabase, OpenMeters
from agents_store_cloudflare.metering.row_count import answer
from agents_store_cloudflare.objects.rpc_text import ask_for_rows, encode_reply, encode_request, split_rows


@pytest.fixture
def store(env: Any, database: Any) -> CloudflareStore:
    del database  # migrated by it
    return create_cloudflare_store(db=env.AGENT_DB, streams=env.STREAMS, locks=env.LOCKS)


async def test_rows_of_both(store: CloudflareStore, unique: str) -> None:
    """CO-1: A save, a lock and a stream each count the rows of their own database."""
    state = AgentState(session_id=unique, agent_type="x", messages=[{"role": "user", "content": "hi"}])
    with store.meter() as m:
        await store.state_store.save(state)
        state.messages.append({"role": "user", "content": "again"})
        before = m.cost()
        await store.state_store.save(state)
        save = m.cost() - before
        before = m.cost()
        lock = await store.locks.acquire(unique)
        assert lock is not None
        await lock.release()
        locked = m.cost() - before
    assert (save.d1.round_trips, save.d1.rows_written) == (1, 2)
    assert (locked.d1, locked.objects.calls) == (D1Cost(), 2)
    assert locked.objects.rows_written is not None
    assert 2 <= locked.objects.rows_written <= 4
    assert save.bytes_sent > 300
    assert save.bytes_received > 0
    assert estimate(save).d1_rows_written == 2_000_000


async def test_waiting_readers_count(store: CloudflareStore, unique: str) -> None:
    """CO-4: A waiting read is a call, and so is a listener's request. Each call reports its own rows."""
    manager = store.stream_manager
    async with manager.create_writer(unique, "a", "x") as writer, manager.create_reader(unique) as reader:
        with store.meter() as reading:
            waiting = asyncio.ensure_future(anext(aiter(reader)))
            while reading.objects.calls == 0:  # noqa: ASYNC110 - the call is what is waited for
                await asyncio.sleep(0.01)
            await writer.write({"type": "text"})
            await writer.flush()
            await waiting
        with store.meter() as listening:
            await manager.sse_response(unique)
    assert reading.objects.calls == 2
    assert reading.objects.rows_written is not None
    assert reading.objects.rows_written >= 1
    assert (listening.objects.calls, listening.objects.rows_read) == (1, 0)


class _Seen:
    """A JavaScript object that records which properties Python asks for."""

    def __init__(self, inner: Any, log: list[str]) -> None:
        self._seen_inner = inner
        self._seen_log = log

    def __getattr__(self, name: str) -> Any:
        self._seen_log.append(name)
        return getattr(self._seen_inner, name)


class _SeenD1:
    """A D1 binding whose results are `_Seen`."""

    def __init__(self, inner: Any, log: list[str]) -> None:
        self._inner = inner
        self._log = log

    def prepare(self, sql: str) -> Any:
        return self._inner.prepare(sql)

    async def batch(self, prepared: Any) -> list[_Seen]:
        return [_Seen(result, self._log) for result in await self._inner.batch(prepared)]


async def test_d1_is_asked_for_nothing_more(env: Any, database: Any) -> None:
    """CO-3: Without an open meter a batch's `meta` is not read. With one it is read once for each statement."""
    del database
    raw, log = getattr(env.AGENT_DB, "_binding", env.AGENT_DB), list[str]()
    meters = OpenMeters()
    counted = MeteredDatabase(D1Database(_SeenD1(raw, log)), meters)
    select = Statement("SELECT 1")

    async def asked() -> list[str]:
        log.clear()
        await counted.batch([select, select])
        return sorted(log)

    plain = await asked()
    with meters.open():
        metered = await asked()
    assert "meta" not in plain
    assert metered == sorted([*plain, "meta", "meta"])
    assert await asked() == plain


class _SeenSql:
    """`ctx.storage.sql` whose cursors record the questions."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    def exec(self, _sql: str, *_parameters: object) -> "_SeenCursor":
        return _SeenCursor(self.log)


class _SeenCursor:
    def __init__(self, log: list[str]) -> None:
        self._log = log

    @property
    def columnNames(self) -> Any:  # noqa: N802 - JavaScript's name
        from pyodide.ffi import to_js

        return to_js(["1"])

    def raw(self) -> "_SeenCursor":
        return self

    def toArray(self) -> Any:  # noqa: N802 - JavaScript's name
        from pyodide.ffi import to_js

        return to_js([[1]])

    @property
    def rowsRead(self) -> int:  # noqa: N802
        self._log.append("rowsRead")
        return 3

    @property
    def rowsWritten(self) -> int:  # noqa: N802
        self._log.append("rowsWritten")
        return 2


class _Storage:
    def __init__(self, sql: _SeenSql) -> None:
        self.sql = sql


class _Context:
    def __init__(self, log: list[str]) -> None:
        self.storage = _Storage(_SeenSql(log))


class _OneStatement:
    def __init__(self, host: CloudflareHost) -> None:
        self._host = host

    async def call(self, request: str) -> str:
        del request
        return encode_reply(self._host.sql.exec("SELECT 1")[0][0])

    async def alarm(self) -> None: ...


async def test_an_object_is_asked_for_nothing_more() -> None:
    """CO-3: A cursor is asked for its rows only in a call that wants them."""
    log: list[str] = []
    logic, request = _OneStatement(CloudflareHost(_Context(log))), encode_request("x", {})
    plain = await answer(logic, request)
    assert log == []
    assert split_rows(await answer(logic, ask_for_rows(request))) == (plain, (3, 2))
    assert sorted(log) == ["rowsRead", "rowsWritten"]


class _RecordingNamespace(CloudflareNamespace):
    """The real binding. It keeps every text that crosses."""

    def __init__(self, binding: Any) -> None:
        super().__init__(getattr(binding, "_binding", binding))
        self.texts: list[tuple[str, str]] = []

    async def call(self, name: str, request: str) -> str:
        reply = await super().call(name, request)
        self.texts.append((request, reply))
        return reply


async def test_not_a_byte_more_on_the_wire(env: Any, unique: str) -> None:
    """CO-3: Requests and replies are the same with and without the store around them. Only metered calls have the flag and the rows."""
    plain, stored = _RecordingNamespace(env.STREAMS), _RecordingNamespace(env.STREAMS)
    await DurableObjectStreamManager(plain, options=StreamOptions()).get_info(unique)
    store = create_cloudflare_store(db=env.AGENT_DB, streams=stored)
    await store.stream_manager.get_info(unique)
    assert stored.texts == plain.texts
    with store.meter() as m:
        await store.stream_manager.get_info(unique)
    assert m.objects.bytes_sent == len(unique) + len(plain.texts[0][0])
    assert m.objects.bytes_received == len(plain.texts[0][1])
    assert '"countRows":true' in stored.texts[1][0]
    assert '"rows":[' in stored.texts[1][1]
