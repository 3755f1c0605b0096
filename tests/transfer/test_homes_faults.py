"""Import into homes × every call to a home and to D1 × {before, after}: nothing, or the old session whole, or the new one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import pytest

from agents_store_cloudflare.contract.errors import AgentsStoreError
from agents_store_cloudflare.database import Row, SqlError, Statement
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.objects import ObjectCallError
from agents_store_cloudflare.state import D1StateStore, StateStoreOptions
from agents_store_cloudflare.store import CloudflareStore, create_cloudflare_store
from agents_store_cloudflare.testing import SqliteDatabase
from agents_store_cloudflare.testing.faults import Moment
from agents_store_cloudflare.transfer import SessionCopy, export_session, import_session, staging
from agents_store_cloudflare.usage import D1UsageStore, UsageOptions
from tests.homes.worlds import HomeWorld
from tests.lengths import length
from tests.transfer.reading import seen
from tests.turns.retries import retries_at_once

T = TypeVar("T")
STRIDE = length(3, 1)


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make imports use several batches for a small session, without pauses between attempts."""
    retries_at_once(monkeypatch)
    monkeypatch.setattr(staging, "BATCH_BYTES", 400)


class Network:
    """The calls of one Worker, of which one fails. With `is_lasting` every later call fails too: the Worker has died."""

    def __init__(self, world: HomeWorld, at: int = -1, moment: Moment = "before", *, is_lasting: bool = False) -> None:
        self._world = world
        self._at = at
        self._moment = moment
        self._is_lasting = is_lasting
        self.count = 0

    async def store(self) -> CloudflareStore:
        """Return the store of this Worker."""
        await run_migration(self._world.database)
        return create_cloudflare_store(
            db=_Database(self, self._world.database),
            streams=self._world.streams,
            sessions=_Objects(self, self._world),
            state_options=StateStoreOptions(now_ms=lambda: 5),
            usage_options=UsageOptions(now_ms=lambda: 5),
        )

    async def send(self, real: Callable[[], Awaitable[T]], lost: Exception) -> T:
        """Make a call, or fail."""
        place, self.count = self.count, self.count + 1
        if self._is_lasting and place > self._at >= 0:
            raise lost
        if place != self._at:
            return await real()
        if self._moment == "after":
            await real()
        raise lost


class _Database:
    def __init__(self, network: Network, database: SqliteDatabase) -> None:
        self._network = network
        self._database = database

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        with_lost_reply = SqlError("D1_ERROR: Network connection lost.")
        return await self._network.send(lambda: self._database.batch(statements), with_lost_reply)


class _Objects:
    def __init__(self, network: Network, world: HomeWorld) -> None:
        self._network = network
        self._objects = world.sessions

    async def call(self, name: str, request: str) -> str:
        lost = ObjectCallError("Network connection lost.", retryable=True)
        return await self._network.send(lambda: self._objects.call(name, request), lost)


async def _fill(states: D1StateStore, usage: D1UsageStore, text: str) -> None:
    await states.create_session("s", agent_type="x", initial_state={"text": text})
    for number in range(4):
        await states.append_messages("s", [{"role": "user", "content": f"{text} {number} " + "x" * 150}])
        await states.save_checkpoint("s")
        await usage.record_tool("s", tool_name=text, duration_ms=number, success=True, id=f"{text}{number}")
    await states.start_run("s", text)


async def _copy() -> SessionCopy:
    database = SqliteDatabase()
    await run_migration(database)
    await _fill(D1StateStore(database, now_ms=lambda: 5), D1UsageStore(database, now_ms=lambda: 5), "new")
    return await export_session(database, "s")


async def _target(replaces: bool) -> HomeWorld:
    world = HomeWorld()
    store = await Network(world).store()
    if replaces:
        await _fill(store.state_store, store.usage_store, "old")
    return world


async def _seen(world: HomeWorld) -> str:
    store = await Network(world).store()
    return await seen(store.state_store, store.usage_store)


async def _wanted(copy: SessionCopy, replaces: bool) -> str:
    world = await _target(replaces)
    await import_session(await Network(world).store(), copy, replace=replaces)
    return await _seen(world)


@pytest.mark.parametrize("replaces", [False, True], ids=["a new one", "replace"])
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_worker_that_dies(moment: Moment, replaces: bool) -> None:
    """TR-6, TR-13: an import that dies at any call leaves nothing or everything, with its usage. A repetition ends it."""
    copy = await _copy()
    old, wanted = await _seen(await _target(replaces)), await _wanted(copy, replaces)
    outcomes: set[str] = set()
    at, has_died = 0, True
    while has_died:
        world = await _target(replaces)
        network = Network(world, at, moment, is_lasting=True)
        with suppress(AgentsStoreError):
            await import_session(await network.store(), copy, replace=replaces)
        has_died, at = network.count > at, at + STRIDE
        if (at // STRIDE) % 2:
            world.sessions.restart()
        outcomes.add(found := await _seen(world))
        assert found in (old, wanted), at
        await import_session(await Network(world).store(), copy, replace=True)
        assert await _seen(world) == wanted
    assert at > 15
    assert outcomes == {old, wanted}


@pytest.mark.parametrize("replaces", [False, True], ids=["a new one", "replace"])
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_lost_replies(moment: Moment, replaces: bool) -> None:
    """TR-6, TR-13: a call that fails once is sent again, and the import takes effect once."""
    copy = await _copy()
    wanted = await _wanted(copy, replaces)
    at, has_failed = 0, True
    while has_failed:
        network = Network(world := await _target(replaces), at, moment)
        await import_session(await network.store(), copy, replace=replaces)
        assert await _seen(world) == wanted, at
        has_failed, at = network.count > at, at + STRIDE
    assert at > 15


async def test_a_home_that_cannot_reach_d1() -> None:
    """TR-13: the session is there with its usage as soon as D1 is, and reads of its usage wait for it."""
    copy, wanted = await _copy(), await _wanted(await _copy(), True)
    world = await _target(True)
    store = await world.store()
    world.d1.is_out = True
    with pytest.raises(AgentsStoreError, match="usage"):
        await import_session(store, copy, replace=True)
    state = await store.state_store.load_state("s", required=True)
    assert state.custom_state == {"text": "new"}
    with pytest.raises(AgentsStoreError, match="usage"):
        await store.usage_store.get_entries("s")
    world.sessions.restart()
    world.d1.is_out = False
    await world.pass_time(61)
    assert await _seen(world) == wanted
    assert await world.rows("SELECT count(*) FROM __agents_message_blocks") == [[0]]
    assert world.sql("s").exec("SELECT count(*) FROM __agents_outbox") == [[0]]
