"""Export and import on sqlite and objects in process, through the same conformance class as in the Worker."""

from collections.abc import Awaitable, Callable, Sequence

import pytest

from agents_store_cloudflare import (
    AgentState,
    D1StateError,
    D1StateStore,
    D1UsageStore,
    InvalidArgumentError,
    UsageError,
    create_cloudflare_store,
)
from agents_store_cloudflare.database import Row, Statement
from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.locks.lock_object import LockObject
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.store import CloudflareStore
from agents_store_cloudflare.testing import LocalObjects, SqliteDatabase
from agents_store_cloudflare.testing.conformance.transfer import TransferConformance
from agents_store_cloudflare.transfer import export_budgets, export_session, import_budgets, import_session


class TestTransfer(TransferConformance):
    @pytest.fixture
    async def database(self) -> SqliteDatabase:
        database = SqliteDatabase()
        await run_migration(database)
        return database

    @pytest.fixture
    def store(self, database: SqliteDatabase) -> CloudflareStore:
        return create_cloudflare_store(db=database, streams=LocalObjects(StreamObject), locks=LocalObjects(LockObject))

    @pytest.fixture
    def source(self, database: SqliteDatabase) -> SqliteDatabase:
        return database


class _Meddling(SqliteDatabase):
    """A database in which somebody else works during its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.meddle: Callable[[], object] = lambda: None

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        result = self.meddle()
        if isinstance(result, Awaitable):
            await result
        return await super().batch(statements)


async def test_a_copy_that_is_changed_meanwhile() -> None:
    """TR-1, TR-11: An import stores the copy as it was given, whatever other tasks change during its awaits."""
    database = _Meddling()
    await run_migration(database)
    states, usage = D1StateStore(database), D1UsageStore(database)
    state = await states.create_session("s", agent_type="t")
    state.messages.append({"role": "user", "content": "hi"})
    await states.save(state)
    await usage.set_budget("b", 100, "tokens")
    await usage.set_budget("z", 100, "tokens")
    copy, names = await export_session(database, "s"), {"s": "s2"}
    budgets = await export_budgets(database, "b")

    def meddle() -> None:
        copy["stored"]["__agents_states"][0]["status"] = "other"
        copy["messages"][0]["content"] = "other"
        names["s"] = "s3"

    database.meddle = meddle
    await import_session(database, copy, rename=names)
    database.meddle = lambda: budgets.update(root="z")
    await import_budgets(database, budgets, replace=True)
    stored = await states.load_state("s2", required=True)
    assert (stored.status, stored.messages) == (state.status, [{"role": "user", "content": "hi"}])
    assert await usage.get_budget("b") == await usage.set_budget("b", 100, "tokens")


@pytest.mark.parametrize("how", ["made anew", "staged"])
async def test_a_session_that_is_written_while_it_is_copied(how: str) -> None:
    """TR-1: A copy shows the session at one moment. If it is written again and again, the copy is refused."""
    database = _Meddling()
    await run_migration(database)
    states = D1StateStore(database)
    change: dict[str, object] = {"toolCallId": "c", "mergeChanges": {"k": 1}}
    left = turns = 0

    async def write(name: str) -> None:
        if how == "made anew":
            await states.delete_session("s")
            await states.save(AgentState(session_id="s", agent_type=name, messages=[{"role": "user", "content": name}]))
            await states.save_checkpoint("s")
        await states.stage_changes("s", name, change)

    async def once() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            await write("new")

    async def always() -> None:
        database.meddle = lambda: None
        await write("again")
        database.meddle = always

    await states.create_session("s", agent_type="a")
    while True:
        await write("old")
        turns += 1
        left = turns
        database.meddle = once
        copy = await export_session(database, "s")
        database.meddle = lambda: None
        if left > 0:
            break
        name = f"copy-{turns}"
        await import_session(database, copy, rename={"s": name})
        stored, staged = await states.load_state(name, required=True), await states.get_staged_changes(name)
        assert [message.get("content") for message in stored.messages] in ([], [stored.agent_type])
        assert len(staged) == len(copy["stored"]["__agents_staged_changes"])
        latest = await states.get_latest_checkpoint(name)
        assert latest is None or (latest.state is not None and latest.state.agent_type == stored.agent_type)
    assert turns > 20
    database.meddle = always
    with pytest.raises(D1StateError, match="was written while it was copied"):
        await export_session(database, "s")


async def test_budgets_that_are_used_while_they_are_copied() -> None:
    """TR-11: A copy of budgets has the sums of its own rows. If they are used again and again, the copy is refused."""
    database = _Meddling()
    await run_migration(database)
    usage = D1UsageStore(database)
    left = turns = 0

    async def use(scope: str) -> None:
        held = await usage.reserve(scope, 2)
        assert held is not None
        await usage.settle(held, 2)
        assert await usage.reserve(scope, 1) is not None

    async def once() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            await use(f"b{turns}")

    async def always() -> None:
        database.meddle = lambda: None
        await use("b")
        database.meddle = always

    while left <= 0:
        turns += 1
        scope, left = f"b{turns}", turns
        await usage.set_budget(scope, 1000, "tokens")
        await use(scope)
        database.meddle = once
        copy = await export_budgets(database, scope)
        database.meddle = lambda: None
        [budget] = copy["stored"]["__agents_budgets"]
        reserved = sum(row["amount"] for row in copy["stored"]["__agents_reservations"])
        settled = sum(row["actual"] for row in copy["stored"]["__agents_settlements"])
        assert (budget["reserved"], budget["settled"]) == (str(reserved), str(settled))
    assert turns > 5
    await usage.set_budget("b", 1000, "tokens")
    database.meddle = always
    with pytest.raises(UsageError, match="while they were copied"):
        await export_budgets(database, "b")


async def test_a_text_that_no_database_can_store() -> None:
    """TR-4: A lone surrogate in a copy is refused by its place, before anything is sent."""
    database = SqliteDatabase()
    await run_migration(database)
    await D1StateStore(database).create_session("s", agent_type="t")
    copy = await export_session(database, "s")
    copy["stored"]["__agents_states"][0]["error"] = "a\ud800b"
    sent = database.batches
    with pytest.raises(InvalidArgumentError, match=r"copy.stored.__agents_states\[0\].error holds a lone surrogate"):
        await import_session(database, copy, replace=True)
    assert database.batches == sent


@pytest.mark.parametrize("past", ["{", '["x", 5, null]', '[["a", "b", "x"]]', '{"a": ["b"]}'])
async def test_damaged_commits_of_an_id(past: str) -> None:
    """ST-51, TR-3: A session comes back under an id whose remembered commits another program has damaged."""
    database = SqliteDatabase()
    await run_migration(database)
    states = D1StateStore(database)
    await states.create_session("s", agent_type="t", initial_state={"n": 1})
    copy = await export_session(database, "s")
    await states.delete_session("s")
    await database.batch([Statement("UPDATE __agents_fences SET past = ?1", (past,))])
    await import_session(database, copy)
    assert (await states.load_state("s", required=True)).custom_state == {"n": 1}
    database.close()
