"""Export and import of sessions in homes, through the same conformance class as for D1, and between D1 and homes."""

import json
from collections.abc import Callable

import pytest

from agents_store_cloudflare import (
    AgentState,
    D1StateStore,
    D1UsageStore,
    InvalidArgumentError,
    SessionNotMovedError,
    StateNotFoundError,
    UsageError,
    UsageOptions,
)
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.homes import answers, tables
from agents_store_cloudflare.homes.session_object import SessionObject
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.store import CloudflareStore
from agents_store_cloudflare.testing import LocalObjects, SqliteDatabase
from agents_store_cloudflare.testing.conformance.transfer import TransferConformance
from agents_store_cloudflare.testing.conformance.transfer_moments import Meddler
from agents_store_cloudflare.transfer import (
    check_copy,
    export_all,
    export_remains,
    export_session,
    import_copy,
    import_session,
    list_remains,
    names_in_homes,
    staging,
)
from tests.homes.worlds import HomeWorld, store_with_homes


class TestTransfer(TransferConformance):
    @pytest.fixture
    async def store(self) -> CloudflareStore:
        return await store_with_homes()

    @pytest.fixture
    def source(self, store: CloudflareStore) -> CloudflareStore:
        return store

    @pytest.fixture
    def member(self) -> Callable[[str, str], str]:
        return lambda family, name: f"{family}//{name}"


@pytest.fixture
def world() -> HomeWorld:
    return HomeWorld()


async def _d1() -> SqliteDatabase:
    database = SqliteDatabase()
    await run_migration(database)
    return database


async def test_a_family_moves_into_homes_and_back(world: HomeWorld) -> None:
    """TR-10, TR-13: homes refuse a child under an id of another home before anything is written; `names_in_homes` renames it."""
    database, store = await _d1(), await world.store()
    states = D1StateStore(database)
    await states.create_session("ada", agent_type="x")
    await states.create_session("bob", agent_type="x", parent_session_id="ada")
    await states.create_session("eve", agent_type="x", parent_session_id="bob")
    await states.create_session("ada//own", agent_type="x", parent_session_id="ada")
    await states.add_sub_session_refs("ada", [{"subSessionId": "bob", "agentType": "x"}])
    copies = [copy async for copy in export_all(database)]
    [bob] = [copy for copy in copies if copy["sessionId"] == "bob"]
    for call in (check_copy, import_copy):
        with pytest.raises(InvalidArgumentError, match="'ada//bob'"):
            await call(store, bob)
    assert world.sessions.calls == 0
    names = names_in_homes(copies)
    assert names == {"bob": "ada//bob", "eve": "ada//bob//eve"}
    for copy in reversed(copies):
        await import_copy(store, copy, rename=names)
    tree = await store.state_store.get_session_tree("ada")
    assert set(tree.session_ids) == {"ada", "ada//bob", "ada//bob//eve", "ada//own"}
    [reference] = await store.state_store.get_sub_session_refs("ada")
    assert reference.sub_session_id == "ada//bob"
    await world.pass_time(5)
    back = {new: old for old, new in names.items()}
    target = await _d1()
    for copy in reversed([copy async for copy in export_all(store)]):
        await import_copy(target, copy, rename=back)
    moved = await D1StateStore(target).load_state("eve", required=True)
    assert (moved.parent_session_id, moved.root_session_id) == ("bob", "ada")
    assert set((await D1StateStore(target).get_session_tree("ada")).session_ids) == {"ada", "bob", "eve", "ada//own"}


async def test_a_session_moves_within_one_database(world: HomeWorld) -> None:
    """TR-13, HM-2: While D1 holds a session, homes refuse its copy, and while a home holds it, D1 does. Neither refusal writes."""
    store = await world.store()
    old = D1StateStore(world.database)
    await old.create_session("ada", agent_type="x", initial_state={"n": 1})
    await D1UsageStore(world.database).record_tool("ada", tool_name="t", duration_ms=1, success=True)
    copy = await export_session(world.database, "ada")
    for replace in (False, True):
        with pytest.raises(SessionNotMovedError):
            await import_session(store, copy, replace=replace)
    with pytest.raises(StateNotFoundError):
        await export_session(store, "ada")
    assert world.host("ada").sql.exec("SELECT count(*) FROM sqlite_master WHERE name LIKE '__agents%'") == [[0]]
    await old.delete_session("ada")
    await import_session(store, copy)
    assert (await store.state_store.load_state("ada", required=True)).custom_state == {"n": 1}
    assert (await store.usage_store.get_rollup("ada")).entry_count == 1
    await world.pass_time(5)
    for call in (export_session, export_remains):
        with pytest.raises(InvalidArgumentError, match=r"lives in home 'ada'.*sessions="):
            await call(world.database, "ada")
    for replace in (False, True):
        with pytest.raises(InvalidArgumentError, match=r"lives in home 'ada'.*sessions="):
            await import_session(world.database, copy, replace=replace)
    assert [each async for each in list_remains(world.database)] == []
    back = await export_session(store, "ada")
    await store.state_store.delete_session("ada")
    await world.pass_time(5)
    await import_session(world.database, back)
    assert (await old.load_state("ada", required=True)).custom_state == {"n": 1}
    assert (await D1UsageStore(world.database).get_rollup("ada")).entry_count == 1


async def test_usage_that_waits_in_the_home(world: HomeWorld) -> None:
    """TR-13: A copy has the usage that its home has not sent to D1 yet. If the home cannot send it, the export is refused."""
    store = await world.store()
    entry = {"session_id": "ada", "kind": "custom", "name": "n", "value": 1, "source": {"type": "agent", "name": "a"}}
    await store.state_store.save_state("ada", AgentState(session_id="ada", agent_type="x"), usage=[entry])
    assert await world.rows("SELECT count(*) FROM __agents_usage") == [[0]]
    world.d1.is_out = True
    with pytest.raises(UsageError, match="home"):
        await export_session(store, "ada")
    world.d1.is_out = False
    copy = await export_session(store, "ada")
    assert len(copy["stored"]["__agents_usage"]) == 1


async def test_usage_that_is_saved_while_the_copy_is_made(world: HomeWorld) -> None:
    """TR-13: whenever a save with usage comes in between, the copy has both the save and its usage, or neither."""
    store = await world.store()
    entry = {"kind": "custom", "name": "n", "value": 1, "source": {"type": "agent", "name": "a"}}
    at, was_in_time = 0, True
    found: set[tuple[int, int]] = set()
    while was_in_time:
        name = f"s{at}"
        await store.state_store.create_session(name, agent_type="x")

        async def save(name: str = name) -> None:
            state = await store.state_store.load_state(name, required=True)
            state.messages.append({"role": "user"})
            await store.state_store.save_state(name, state, usage=[{**entry, "session_id": name}])

        meddler = Meddler(at, save)
        copy = await export_session(meddler.around(store), name)
        found.add((len(copy["messages"]), len(copy["stored"]["__agents_usage"])))
        at, was_in_time = at + 1, meddler.has_acted
    assert at > 20
    assert found == {(0, 0), (1, 1)}


@pytest.mark.parametrize("homes", [False, True], ids=["D1", "homes"])
async def test_large_entries(world: HomeWorld, homes: bool) -> None:
    """TR-1: Entries with many quotes, which are doubled in a text inside a text, come back between small ones, in their order."""
    source = await _d1()
    usage = D1UsageStore(source)
    for n, size in enumerate((1, 700_000, 1, 700_000, 2)):
        await usage.record_custom("s", name=f"n{n}", value=n, data=[], timestamp=n + 1)
        larger = "UPDATE __agents_usage SET data = json_set(data, '$.data', ?1) WHERE timestamp = ?2"
        await source.batch([Statement(larger, ('"' * size, n + 1))])
    await D1StateStore(source).create_session("s", agent_type="x")
    copy = await export_session(source, "s")
    target = await world.store() if homes else await _d1()
    await import_session(target, copy)
    read = target.usage_store if isinstance(target, CloudflareStore) else D1UsageStore(target)
    assert [each.to_dict() for each in await read.get_entries("s")] == [
        each.to_dict() for each in await usage.get_entries("s")
    ]


async def test_a_copy_whose_usage_d1_refuses(world: HomeWorld) -> None:
    """TR-4: Rows of usage that D1 cannot take are refused before the session is visible in its home."""
    source, store = await _d1(), await world.store()
    await D1StateStore(source).create_session("s", agent_type="x")
    await D1UsageStore(source).record_tool("s", tool_name="t", duration_ms=1, success=True)
    copy = await export_session(source, "s")
    copy["stored"]["__agents_usage"][0]["created_at"] = None
    with pytest.raises(InvalidArgumentError, match="contradict"):
        await import_session(store, copy)
    assert not await store.state_store.exists("s")


async def test_rows_of_adapters_without_a_session(world: HomeWorld) -> None:
    """TR-12: An import without `replace` leaves the rows of adapters alone that the copy does not have, in D1 and in homes."""
    source = await _d1()
    await D1StateStore(source).create_session("s", agent_type="x")
    copy = await export_session(source, "s")
    row = "INSERT INTO __agents_a2a_tasks VALUES ('s', 'o', 't', 'v', 'w', 1, '', '{}')"
    target = await _d1()
    store = await world.store()
    for database, place in ((target, target), (world.database, store)):
        await database.batch([Statement(row)])
        await import_session(place, copy)
        [rows] = await database.batch([Statement("SELECT task_id FROM __agents_a2a_tasks")])
        assert rows == [["t"]]
        moved = await export_session(place, "s")
        await import_session(place, copy, replace=True)
        [rows] = await database.batch([Statement("SELECT task_id FROM __agents_a2a_tasks")])
        assert rows == []
        await import_session(place, moved, replace=True)
        [rows] = await database.batch([Statement("SELECT task_id FROM __agents_a2a_tasks")])
        assert rows == [["t"]]


async def test_a_large_session(world: HomeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """TR-13, HM-11: No call carries more than a page, in either direction, however large the session is."""
    longest = 0
    call = world.sessions.call

    async def measured(name: str, request: str) -> str:
        nonlocal longest
        reply = await call(name, request)
        longest = max(longest, len(request), len(reply))
        return reply

    monkeypatch.setattr(answers, "PAGE_CHARACTERS", 20_000)
    monkeypatch.setattr(tables, "SMALL_BYTES", 0)
    monkeypatch.setattr(staging, "BATCH_BYTES", 20_000)
    monkeypatch.setattr(world.sessions, "call", measured)
    source, store = await _d1(), await world.store()
    states = D1StateStore(source)
    await states.create_session("s", agent_type="x")
    for n in range(40):
        await states.append_messages("s", [{"role": "user", "content": f"{n}".ljust(5_000)}])
        await states.save_checkpoint("s")
    copy = await export_session(source, "s")
    await import_session(store, copy)
    assert await export_session(store, "s") | {"stored": None} == copy | {"stored": None}
    assert longest < 70_000
    assert len(json.dumps(copy)) > 200_000


async def test_usage_in_a_table_of_another_name(world: HomeWorld) -> None:
    """TR-1: A store whose usage has a table of its own copies that table."""
    options = UsageOptions(table_name="spend")
    world.sessions = LocalObjects(
        lambda host: SessionObject(host, database=lambda: world.d1, usage_table="spend"), clock=world.clock
    )
    store = await world.store(usage=options)
    await store.usage_store.ensure_table()
    await store.state_store.create_session("s", agent_type="x")
    await store.usage_store.record_tool("s", tool_name="t", duration_ms=1, success=True)
    copy = await export_session(store, "s")
    assert len(copy["stored"]["__agents_usage"]) == 1
    await store.delete_session("s")
    assert await store.usage_store.get_entries("s") == []
    await import_session(store, copy)
    assert (await store.usage_store.get_rollup("s")).entry_count == 1
    assert await world.rows("SELECT count(*) FROM spend") == [[1]]
    assert await world.rows("SELECT count(*) FROM __agents_usage") == [[0]]


@pytest.mark.parametrize("homes", [False, True], ids=["D1", "homes"])
async def test_a_large_message(world: HomeWorld, homes: bool) -> None:
    """TR-1: A message as large as the store takes can be imported."""
    source = await _d1()
    await D1StateStore(source).create_session("s", agent_type="x")
    await D1StateStore(source).append_messages("s", [{"role": "user", "content": "x" * 1_700_000}])
    target = await world.store() if homes else await _d1()
    await import_session(target, await export_session(source, "s"))
    states = target.state_store if isinstance(target, CloudflareStore) else D1StateStore(target)
    assert (await states.get_messages("s")).total == 1
