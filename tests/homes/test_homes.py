"""What only homes have: who may live where, what a home is made of, versions, errors."""

from collections.abc import Awaitable, Callable

import pytest

from agents_store_cloudflare import (
    AgentState,
    BindingError,
    D1StateError,
    InvalidArgumentError,
    Message,
    MigrationError,
    SessionNotMovedError,
    SessionOptions,
    StateNotFoundError,
    StateSizeExceededError,
    create_cloudflare_store,
    run_migration,
    wiring,
)
from agents_store_cloudflare.database import LostReplyError, SqlError, Statement
from agents_store_cloudflare.durable_streams import StreamObject
from agents_store_cloudflare.homes import schema
from agents_store_cloudflare.homes.database import ObjectHomes
from agents_store_cloudflare.homes.session_object import SessionObject
from agents_store_cloudflare.homes.tables import HomeRecord
from agents_store_cloudflare.objects import ObjectCallError
from agents_store_cloudflare.objects.rpc_text import encode_reply
from agents_store_cloudflare.testing import LocalObjects, SqliteDatabase
from agents_store_cloudflare.wiring import check_object
from tests.homes.worlds import HomeWorld

SELECT = Statement("SELECT session_id FROM __agents_states")


@pytest.fixture
def world() -> HomeWorld:
    return HomeWorld()


@pytest.mark.parametrize("call", ["create", "save", "turn"])
async def test_a_child_elsewhere(world: HomeWorld, call: str) -> None:
    """HM-2: A child with another home than its parent's is refused, and the error has the right id. Nothing is sent."""
    store = await world.store()
    child = AgentState(session_id="bob", agent_type="x", parent_session_id="ada")
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "create": lambda: store.state_store.create_session("bob", agent_type="x", parent_session_id="ada"),
        "save": lambda: store.state_store.save(child),
        "turn": lambda: store.turn("bob", agent_type="x", parent_session_id="ada", stream=False).__aenter__(),
    }
    with pytest.raises(InvalidArgumentError, match=r"'ada//bob'"):
        await calls[call]()
    assert world.sessions.calls == 0


async def test_a_child_that_has_no_place(world: HomeWorld) -> None:
    """HM-2: No child id fits under a parent whose id is a URL, and the refusal gives the reason."""
    store = await world.store()
    with pytest.raises(InvalidArgumentError, match="home of its own"):
        await store.state_store.create_session("x", agent_type="x", parent_session_id="https://example.org")


async def test_sessions_that_are_in_d1(world: HomeWorld) -> None:
    """HM-2: A session that D1 has, or a child of one, is not made in a home. Only an explicit option turns the check off."""
    store = await world.store()
    old = create_cloudflare_store(db=world.database, streams=world.streams, locks=world.locks)
    await old.state_store.create_session("ada", agent_type="x")
    for session_id in ("ada", "ada//child"):
        with pytest.raises(SessionNotMovedError) as raised:
            await store.state_store.create_session(session_id, agent_type="x")
        assert raised.value.session_id == "ada"
        with pytest.raises(SessionNotMovedError):
            await store.state_store.save(AgentState(session_id=session_id, agent_type="x"))
        with pytest.raises(SessionNotMovedError):
            async with store.turn(session_id, agent_type="x", stream=False):
                raise AssertionError("the turn was entered")
        assert not await store.state_store.exists(session_id)
    await (await world.store(check_db=False)).state_store.create_session("ada", agent_type="x")
    await old.state_store.delete_session("ada")
    await store.state_store.create_session("ada//child", agent_type="x")


async def test_a_session_that_went_to_d1_in_between(world: HomeWorld) -> None:
    """HM-2: A home does not ask D1 for a session that it has. After the session's deletion it asks again."""
    store = await world.store()
    hello: Message = {"role": "user", "content": "hello"}
    await store.state_store.append_messages("ada", [hello], create="x")
    with store.meter() as meter:
        await store.state_store.append_messages("ada", [hello], create="x")
    assert meter.d1.round_trips == 0
    await store.state_store.delete_session("ada")
    old = create_cloudflare_store(db=world.database, streams=world.streams, locks=world.locks)
    await old.state_store.create_session("ada", agent_type="x")
    with pytest.raises(SessionNotMovedError):
        await store.state_store.append_messages("ada", [hello], create="x")


@pytest.mark.parametrize("call", ["create", "save", "fork"])
async def test_calls_of_a_new_session(world: HomeWorld, call: str) -> None:
    """HM-2: A call that creates a session asks D1 once and then its home once. A caller who does not know whether it exists asks twice."""
    store = await world.store()
    state_store = store.state_store
    await state_store.create_session("cyd", agent_type="x")
    checkpoint = await state_store.save_checkpoint("cyd")
    with store.meter() as meter:
        if call == "create":
            await state_store.create_session("ada", agent_type="x")
        elif call == "save":
            await state_store.save(AgentState(session_id="ada", agent_type="x"))
        else:
            await state_store.fork_session("cyd", checkpoint.id, "ada")
    assert (meter.d1.round_trips, meter.objects.calls) == (
        1,
        2 if call == "fork" else 1,
    )  # a fork reads in the other home
    with store.meter() as meter:
        await state_store.create_session("bob", agent_type="x", exist_ok=True)
        await state_store.create_session("bob", agent_type="x", exist_ok=True)
    assert (meter.d1.round_trips, meter.objects.calls) == (1, 3)


async def test_reads_make_nothing(world: HomeWorld) -> None:
    """HM-13: Reads, refused writes and deletions of unknown sessions leave an empty object empty."""
    store = await world.store()
    state_store = store.state_store
    assert await state_store.load_state("ada") is None
    assert await state_store.list_runs("ada") == []
    assert (await state_store.get_messages("ada")).total == 0
    assert (await state_store.list_checkpoints("ada")).items == []
    assert not await state_store.delete_session("ada", delete_usage=True)
    assert not await store.delete_session("ada")
    assert (await state_store.get_session_tree("ada")).session_ids == ()
    for fencing_token in (None, 5):
        with pytest.raises(StateNotFoundError):
            await (
                state_store.update_status("ada", "x")
                if fencing_token is None
                else state_store.update_status("ada", "x", fencing_token=fencing_token)
            )
    sql = world.sql("ada")
    assert sql.exec("SELECT name FROM sqlite_master") == []
    assert sql.get_text("home_v1") is None


async def test_tables_come_with_their_first_row(world: HomeWorld) -> None:
    """HM-13: A new home has the four tables that every session needs. The first row of another table makes it, for good."""
    state_store = (await world.store()).state_store
    await state_store.create_session("ada", agent_type="x")
    sql = world.sql("ada")

    def tables() -> set[str]:
        rows = sql.exec("SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB '__agents*'")
        return {str(row[0]) for row in rows}

    base = schema.BASE_TABLES - {"__agents_next_session_no"}
    assert tables() == base
    assert await state_store.get_staged_changes("ada") == []
    assert (await state_store.get_session_tree("ada")).session_ids == ("ada",)
    assert tables() == base
    await state_store.start_run("ada", "r")
    assert tables() == base | {"__agents_runs"}
    world.sessions.restart()
    await state_store.stage_changes("ada", "s", {"toolCallId": "t", "patches": [], "timestamp": 1})
    await state_store.add_sub_session_refs("ada", [{"subSessionId": "b", "agentType": "y"}])
    await state_store.create_session("ada//child", agent_type="x", parent_session_id="ada")
    assert tables() == base | {"__agents_runs", "__agents_staged_changes", "__agents_sub_sessions"}
    assert sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'idx___agents_states_parent'") == [[1]]
    assert await state_store.delete_session("ada")
    for table in ("__agents_runs", "__agents_staged_changes", "__agents_sub_sessions"):
        assert sql.exec(f"SELECT count(*) FROM {table}") == [[0]]


async def test_a_failed_batch_makes_no_table(world: HomeWorld) -> None:
    """HM-5: Tables of a refused batch are not kept. The next batch makes them again."""
    state_store = (await world.store()).state_store
    await state_store.create_session("ada", agent_type="x")
    homes = ObjectHomes(world.sessions, SessionOptions().for_home())
    broken = [
        Statement("INSERT INTO __agents_runs (session_no)\nVALUES (1)"),
    ]
    with pytest.raises(SqlError):
        await homes.of("ada").batch(broken)
    assert (await state_store.start_run("ada", "r")).turn == 1


async def test_a_newer_home(world: HomeWorld) -> None:
    """HM-12: A home with a newer schema is refused by name. Nothing is read or written."""
    state_store = (await world.store()).state_store
    await state_store.create_session("ada", agent_type="x")
    newer = HomeRecord(home="ada", schema=9, readable_from=9)
    world.sql("ada").put_text("home_v1", newer.text())
    world.sessions.restart()
    for call in (state_store.load_state("ada"), state_store.update_status("ada", "y")):
        with pytest.raises(MigrationError, match="schema version 9"):
            await call
    readable = HomeRecord(home="ada", schema=9, readable_from=1)
    world.sql("ada").put_text("home_v1", readable.text())
    world.sessions.restart()
    await state_store.update_status("ada", "y")
    assert world.sql("ada").get_text("home_v1") == readable.text()


STEPS = {2: ("ALTER TABLE __agents_states ADD COLUMN mood TEXT",)}
MOODS = Statement("SELECT mood FROM __agents_states")


async def test_a_newer_worker(world: HomeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """HM-12: A Worker that needs a newer schema sends its migration steps once to an older object, for old homes and for new ones."""
    await (await world.store()).state_store.create_session("ada", agent_type="x")
    monkeypatch.setattr("agents_store_cloudflare.homes.database.SCHEMA", 2)
    monkeypatch.setattr("agents_store_cloudflare.homes.database.STEPS", STEPS)
    newer = (await world.store()).state_store
    homes = ObjectHomes(world.sessions, {})
    assert await homes.of("ada").batch([MOODS]) == [[[None]]]
    before = world.sessions.calls
    assert await homes.of("ada").batch([MOODS]) == [[[None]]]
    assert world.sessions.calls == before + 1
    await newer.create_session("bob", agent_type="x")
    assert await homes.of("bob").batch([MOODS]) == [[[None]]]
    assert HomeRecord.from_text(world.sql("bob").get_text("home_v1") or "").schema == 2


async def test_a_step_without_statements(world: HomeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """HM-12: A read for a child may be the first call after a migration. What it makes on the way exists from then on."""
    state_store = (await world.store()).state_store
    await state_store.create_session("ada", agent_type="x")
    monkeypatch.setattr("agents_store_cloudflare.homes.tables.SCHEMA", 2)
    monkeypatch.setattr("agents_store_cloudflare.homes.tables.STEPS", {2: ()})
    world.sessions.restart()
    assert not await state_store.exists("ada//child")
    await state_store.create_session("ada//child", agent_type="x", parent_session_id="ada")
    assert world.sql("ada").exec("SELECT 1 FROM sqlite_master WHERE name = ?1", schema.CHILDREN_INDEX) == [[1]]


async def test_a_newer_object(world: HomeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """HM-12: Newer code in the object migrates a home at the first call, and serves Workers of the version before."""
    state_store = (await world.store()).state_store
    await state_store.create_session("ada", agent_type="x")
    monkeypatch.setattr("agents_store_cloudflare.homes.tables.SCHEMA", 2)
    monkeypatch.setattr("agents_store_cloudflare.homes.tables.STEPS", STEPS)
    world.sessions.restart()
    assert await state_store.exists("ada")
    await state_store.update_status("ada", "y")
    assert await ObjectHomes(world.sessions, {}).of("ada").batch([MOODS]) == [[[None]]]


async def test_calls_without_a_reply(world: HomeWorld) -> None:
    """HM-5, HM-10: A lost reply is asked for again, and stored once. An overloaded object, or too large a reply, is asked once."""
    state_store = (await world.store()).state_store
    real = world.sessions.call
    failures: list[ObjectCallError] = [ObjectCallError("lost", retryable=True)]
    asked = 0

    async def call(name: str, request: str) -> str:
        nonlocal asked
        asked += 1
        reply = await real(name, request)
        if failures:
            raise failures.pop()
        return reply

    world.sessions.call = call  # type: ignore[method-assign]
    await state_store.create_session("ada", agent_type="x")
    failures.append(ObjectCallError("too much", overloaded=True))
    asked = 0
    with pytest.raises(D1StateError, match="too much") as raised:
        await state_store.append_messages("ada", [{"role": "user"}])
    assert (asked, raised.value.outcome_unknown) == (1, True)
    await state_store.append_messages("ada", [{"role": "user"}], commit_id=raised.value.commit_id)
    assert (await state_store.get_messages("ada")).total == 1
    failures.append(ObjectCallError("Serialized RPC arguments or return values are limited to 32MiB"))
    asked = 0
    with pytest.raises(D1StateError, match=r"32 MiB: give less to one call .*get_messages\(limit=…\)"):
        await state_store.load_state("ada")
    assert asked == 1


async def test_a_full_home(world: HomeWorld) -> None:
    """HM-10: A home at its size limit refuses writes and says what to do. Its reads and deletions go on, and make room again."""
    state_store = (await world.store()).state_store
    for session_id in ("ada", "ada//draft"):
        await state_store.create_session(session_id, agent_type="x")
        await state_store.append_messages(session_id, [{"role": "user", "content": "x" * 100_000}])
    sql = world.sql("ada")
    sql._connection.run("PRAGMA max_page_count = 1")  # the smallest that SQLite takes is the present size
    more: Message = {"role": "user", "content": "y" * 100_000}
    with pytest.raises(StateSizeExceededError, match="delete sessions or prune checkpoints") as raised:
        await state_store.append_messages("ada", [more])
    assert (raised.value.is_full, raised.value.limit_bytes) == (True, 10_000_000_000)
    assert raised.value.outcome_unknown is False
    assert (await state_store.get_messages("ada")).total == 1
    assert await state_store.delete_session("ada//draft")
    await state_store.append_messages("ada", [more])
    assert (await state_store.load_state("ada", required=True)).messages[1] == more


async def test_bindings_that_are_exchanged(world: HomeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """HM-9: The migration and the first call both name a binding of another class."""
    monkeypatch.setattr(wiring, "_checked", set[str]())  # another test's migration may have checked the kind
    database = SqliteDatabase()
    await run_migration(database)
    store = create_cloudflare_store(db=database, streams=world.streams, sessions=LocalObjects(StreamObject))
    with pytest.raises(BindingError, match="SessionServer"):
        await store.migrate()
    with pytest.raises(BindingError, match="SESSIONS"):
        await store.state_store.create_session("ada", agent_type="x")
    with pytest.raises(InvalidArgumentError, match="sessions="):
        create_cloudflare_store(db=database, streams=world.streams, session_options=SessionOptions())
    with pytest.raises(InvalidArgumentError, match="sessions="):
        await create_cloudflare_store(db=database, streams=world.streams).project_home("ada")


async def test_a_class_without_sqlite() -> None:
    """HM-9: If no [[migrations]] lists SessionServer as a class with SQLite, the error has the lines to add, tag v3."""

    class Bare:
        async def call(self, name: str, request: str) -> str:
            assert (name, "describe" in request) == ("__wiring", True)
            return encode_reply({"kind": "session", "hasSqlite": False})

    with pytest.raises(BindingError, match='tag = "v3"') as raised:
        await check_object(Bare(), "session")
    assert 'new_sqlite_classes = ["SessionServer"]' in str(raised.value)


async def test_a_home_without_d1(caplog: pytest.LogCaptureFixture) -> None:
    """HM-7: A home without D1 keeps its changes, and its log names the option for the binding."""
    world = HomeWorld()
    world.sessions = LocalObjects(SessionObject, clock=world.clock)
    store = await world.store()
    await store.state_store.create_session("ada", agent_type="x")
    await world.pass_time(1)
    assert "with_options(database=" in caplog.text


def test_lost_replies() -> None:
    """HM-5: A lost call counts as lost, even if its error text looks like a guard's refusal or a failed statement."""
    error = LostReplyError('agents-store {"fault":"x"} SQLITE_CONSTRAINT_UNIQUE', transient=True)
    assert (error.guard, error.transient, error.outcome_unknown) == (None, True, True)


async def test_options() -> None:
    """HM-7: options are checked when they are made."""
    assert SessionOptions().for_home() == {"streams": True, "directory": True, "delayMs": 1_000}
    assert SessionOptions(directory_delay_ms=5).delay_ms() == 5
    for delay in (61, -1):
        with pytest.raises(InvalidArgumentError):
            SessionOptions(directory_delay=delay)
    with pytest.raises(TypeError):
        SessionOptions(home_streams="no")  # type: ignore[arg-type]
