"""The directory in D1: late, never wrong for good, never going back."""

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, LiteralString

import pytest

from agents_store_cloudflare import AgentState, CloudflareStore, D1StateError, InvalidArgumentError
from agents_store_cloudflare.database import Row, Statement
from tests.homes.worlds import HomeWorld

ROWS = "SELECT session_id, status, version, deleted FROM __agents_directory ORDER BY session_id"


@pytest.fixture
def world() -> HomeWorld:
    return HomeWorld()


async def _save(store: CloudflareStore, session_id: str, **fields: Any) -> AgentState:
    state = await store.state_store.load_state(session_id) or AgentState(session_id=session_id, agent_type="x")
    for name, value in fields.items():
        setattr(state, name, value)
    await store.state_store.save(state)
    return state


async def _listed(store: CloudflareStore, **wanted: Any) -> list[str]:
    return [state.session_id for state in (await store.state_store.list_sessions(**wanted)).items]


async def test_the_directory_follows(world: HomeWorld) -> None:
    """HM-7: A second after many changes, the directory has the session's present facts."""
    store = await world.store()
    for status in ("a", "b", "c"):
        await _save(store, "ada", status=status)
    assert await _listed(store) == []
    await world.pass_time(1)
    assert await world.rows(ROWS) == [["ada", "c", 3, 0]]
    assert world.d1.batches == 1
    await world.pass_time(60)
    assert world.d1.batches == 1


async def test_deleted_sessions_leave_it(world: HomeWorld) -> None:
    """HM-7: A deleted session is not listed. A session that is made again takes a new place."""
    store = await world.store()
    await _save(store, "ada")
    await _save(store, "ada//child", parent_session_id="ada")
    await _save(store, "bob")
    await world.pass_time(1)
    assert await _listed(store) == ["bob", "ada//child", "ada"]
    await store.state_store.delete_session("ada")
    await world.pass_time(1)
    assert await _listed(store) == ["bob"]
    await world.pass_time(0.1)
    await _save(store, "ada")
    await world.pass_time(1)
    assert await _listed(store) == ["ada", "bob"]


async def test_d1_out_of_reach(world: HomeWorld, caplog: pytest.LogCaptureFixture) -> None:
    """HM-7: Sessions go on while D1 is away. The home retries after 1, 2, 4 … 60 seconds, so all is right a minute after D1's return."""
    store = await world.store()
    world.d1.is_out = True
    await _save(store, "ada", status="a")
    asked: list[int] = []
    for second in range(400):
        before = world.d1.batches
        await world.pass_time(1)
        asked += [second + 1] * (world.d1.batches - before)
    assert asked[:7] == [1, 2, 4, 8, 16, 32, 64]
    assert {later - earlier for earlier, later in pairwise(asked[6:])} == {60}
    await _save(store, "ada", status="b")
    world.d1.is_out = False
    await world.pass_time(60)
    assert await world.rows(ROWS) == [["ada", "b", 2, 0]]


async def test_an_alarm_that_was_lost(world: HomeWorld) -> None:
    """HM-7: After a lost alarm, any read of the home sends the waiting changes to D1."""
    store = await world.store()
    world.d1.is_out = True
    await _save(store, "ada")
    await world.pass_time(1)
    world.d1.is_out = False
    world.sessions.restart()
    world.host("ada").set_alarm(None)
    await world.pass_time(600)
    assert await world.rows(ROWS) == []
    assert await store.state_store.exists("ada")
    await world.pass_time(1)
    assert await world.rows(ROWS) == [["ada", "active", 1, 0]]


async def test_a_batch_that_arrives_after_its_successor(world: HomeWorld) -> None:
    """HM-7: Of two batches the one with the higher edition stays, in either order of arrival."""
    sent: list[Sequence[Statement]] = []
    store = await world.store()
    real = world.d1.batch

    async def recorded(statements: Sequence[Statement]) -> list[list[Row]]:
        sent.append(statements)
        return await real(statements)

    world.d1.batch = recorded  # type: ignore[method-assign]
    await _save(store, "ada", status="old")
    await world.pass_time(1)
    await _save(store, "ada", status="new")
    await world.pass_time(1)
    await store.state_store.delete_session("ada")
    await world.pass_time(1)
    for late in (sent[0], sent[1], sent[0]):
        await real(late)
        assert await _listed(store) == []
    assert len(sent) == 3


async def test_a_clock_that_was_set_back(world: HomeWorld) -> None:
    """HM-7: Editions rise with any clock, also in an object that has forgotten its last edition."""
    store = await world.store()
    await _save(store, "ada", status="a")
    await world.pass_time(1)
    world.clock.set(world.clock.now_ms() - 3_600_000)
    await _save(store, "ada", status="b")
    await world.pass_time(1)
    assert await world.rows(ROWS) == [["ada", "b", 2, 0]]
    world.sql("ada").delete_text("edition_v1")  # as after a restore to an earlier day
    await _save(store, "ada", status="c")
    await world.pass_time(1)
    assert await world.rows(ROWS) == [["ada", "c", 3, 0]]


async def test_a_read_after_the_clock_was_set_back(world: HomeWorld) -> None:
    """HM-7: An alarm that a clock set back has moved an hour away is set again by the next call, also by a read."""
    store = await world.store()
    await _save(store, "ada", status="a")
    await store.state_store.load_state("ada")
    world.clock.set(world.clock.now_ms() - 3_600_000)
    await store.state_store.load_state("ada")
    await world.pass_time(1)
    assert await world.rows(ROWS) == [["ada", "a", 1, 0]]


async def test_rebuilding(world: HomeWorld) -> None:
    """HM-15, HM-7: A directory with lost rows gets them back when each home is asked by name."""
    store = await world.store()
    await _save(store, "ada")
    await _save(store, "ada//child", parent_session_id="ada")
    await world.pass_time(1)
    await world.database.batch([Statement("DELETE FROM __agents_directory")])
    assert await store.project_home("ada//child") == "ada"
    assert await _listed(store) == ["ada//child", "ada"]
    assert await store.project_home("nobody") is None


async def test_no_directory(world: HomeWorld) -> None:
    """HM-7: Without a directory, the two calls that need it raise an error that says so. D1 gets nothing."""
    store = await world.store(directory=False)
    await _save(store, "ada", expires_at=1)
    await world.pass_time(60)
    assert world.d1.batches == 0
    for call in (store.state_store.list_sessions, store.cleanup_expired_sessions):
        with pytest.raises(InvalidArgumentError, match="directory=False"):
            await call()


async def test_the_home_decides_what_has_expired(world: HomeWorld) -> None:
    """HM-7: The directory only proposes. A session whose own row says that it is not expired stays, and the directory is corrected."""
    store = await world.store()
    await _save(store, "ada", expires_at=10)
    await _save(store, "bob", expires_at=20)
    await _save(store, "cyd", expires_at=30)
    await world.pass_time(1)
    await _save(store, "ada", expires_at=100)
    assert await store.cleanup_expired_sessions(20) == ["bob"]
    later = "SELECT session_id FROM __agents_directory WHERE expires_at > 20 ORDER BY session_id"
    assert await world.rows(later) == [["ada"], ["cyd"]]
    await world.pass_time(1)
    assert await store.cleanup_expired_sessions(20) == []
    assert await _listed(store) == ["cyd", "ada"]


async def test_states_from_a_list(world: HomeWorld) -> None:
    """HM-7: Saving a state from a list stores the changes and loses nothing. A change of a part that the list lacks is refused."""
    store = await world.store()
    state = AgentState(session_id="ada", agent_type="x", custom_state={"kept": 1}, output={"also": 2})
    state.messages = [{"role": "user", "content": "one"}]
    await store.state_store.save(state)
    await world.pass_time(1)
    [listed] = (await store.state_store.list_sessions()).items
    listed.status = "paused"
    listed.messages.append({"role": "user", "content": "two"})
    assert await store.state_store.save(listed) == 2
    whole = await store.state_store.load_state("ada", required=True)
    assert (whole.status, whole.custom_state, whole.output) == ("paused", {"kept": 1}, {"also": 2})
    assert [message.get("content") for message in whole.messages] == ["one", "two"]
    assert listed.custom_state == {"kept": 1}
    await world.pass_time(1)
    [listed] = (await store.state_store.list_sessions()).items
    listed = AgentState.from_dict(json.loads(json.dumps(listed.to_dict())))
    listed.custom_state["new"] = 1
    with pytest.raises(InvalidArgumentError, match="load_state"):
        await store.state_store.save(listed)
    with pytest.raises(InvalidArgumentError, match="load_state"):
        await store.state_store.save_checkpoint("ada", listed)
    with pytest.raises(InvalidArgumentError, match="load_state"):
        await store.state_store.append_messages(listed, [{"role": "user"}])


async def test_more_sessions_than_one_batch_takes(world: HomeWorld) -> None:
    """HM-7: The directory gets a tree of any size completely."""
    store = await world.store()
    await _save(store, "ada")
    for n in range(1_100):
        await store.state_store.create_session(f"ada//{n}", agent_type="x", parent_session_id="ada")
    await world.pass_time(1)
    assert await world.rows("SELECT count(*), count(DISTINCT place) FROM __agents_directory") == [[1_101, 1_101]]
    assert len(await _listed(store, parent_session_id="ada", limit=1_000)) == 1_000


async def test_an_error_of_the_directory_is_an_error(world: HomeWorld) -> None:
    """HM-7: A list that cannot be read raises an error, and never counts as empty."""
    store = await world.store()
    await world.database.batch([Statement("DROP TABLE __agents_directory")])
    with pytest.raises(D1StateError, match="run_migration"):
        await store.state_store.list_sessions()


async def test_streams_of_expired_sessions(world: HomeWorld) -> None:
    """HM-7: A clean-up deletes the streams of the deleted sessions, but not a stream that a session of the same name uses."""
    store = await world.store()
    await _save(store, "ada", expires_at=10, stream_id="bob")
    await _save(store, "cyd", expires_at=10)
    await _save(store, "bob")
    for stream_id in ("bob", "cyd"):
        async with store.stream_manager.create_writer(stream_id, "a", "t") as writer:
            await writer.write({"type": "text"})
    await world.pass_time(1)
    assert sorted(await store.cleanup_expired_sessions(20)) == ["ada", "cyd"]
    assert await store.stream_manager.get_info("cyd") is None
    assert await store.stream_manager.get_info("bob") is not None
    assert await store.delete_session("bob")
    assert await store.stream_manager.get_info("bob") is None


async def test_a_sweep_over_a_directory_that_is_behind(world: HomeWorld) -> None:
    """HM-15: Stale rows and homes that do not answer do not keep dead turns open. The directory is corrected."""
    store = await world.store(directory_delay=0)
    for session_id in ("gone", "behind", "unreachable", "dead"):
        async with store.turn(session_id, agent_type="t"):
            pass
    await world.pass_time(1)
    stale: LiteralString = "UPDATE __agents_directory SET turn_since = ?1 WHERE session_id = ?2"
    order = ("gone", "behind", "unreachable", "dead")
    await world.database.batch([Statement(stale, (since, session_id)) for since, session_id in enumerate(order, 1)])
    world.sql("dead").exec(
        "UPDATE __agents_states SET turn_since = 1, open_turn = (SELECT facts FROM __agents_runs WHERE turn = 1)"
    )
    world.sql("unreachable").exec("UPDATE __agents_states SET turn_since = 1, owed_closings = '{'")
    swept = await store.sweep_turns(1)
    assert swept.closed == ("dead",)
    await world.pass_time(1)
    [rows] = await world.database.batch([Statement("SELECT session_id FROM __agents_directory WHERE turn_since > 0")])
    assert [row[0] for row in rows] == ["unreachable"]
