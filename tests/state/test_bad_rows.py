"""A row that another program has damaged costs itself: every call over several rows goes on, and names it."""

import logging
from collections.abc import AsyncIterator
from typing import LiteralString

import pytest

from agents_store_cloudflare import (
    AgentState,
    D1StateError,
    D1StateStore,
    StagingError,
    StateStoreOptions,
    create_cloudflare_store,
    run_migration,
)
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.locks.lock_object import LockObject
from agents_store_cloudflare.store import CloudflareStore
from agents_store_cloudflare.testing import FakeClock, LocalObjects, SqliteDatabase

SESSIONS = ("before", "bad", "after")

OF_STATES: dict[str, LiteralString] = {
    "commits, no JSON": "UPDATE __agents_states SET commits = '{' WHERE session_id = 'bad'",
    "commits, texts": """UPDATE __agents_states SET commits = '["x", 5, null]' WHERE session_id = 'bad'""",
    "commits, bytes": "UPDATE __agents_states SET commits = x'00ff' WHERE session_id = 'bad'",
    "commits, an object": """UPDATE __agents_states SET commits = '{"a": ["b"]}' WHERE session_id = 'bad'""",
    "owed, no JSON": "UPDATE __agents_states SET owed_closings = '{', turn_since = 1 WHERE session_id = 'bad'",
    "owed, a number": "UPDATE __agents_states SET owed_closings = '5', turn_since = 1 WHERE session_id = 'bad'",
    "owed, without fields": "UPDATE __agents_states SET owed_closings = '[{}]', turn_since = 1 WHERE session_id = 'bad'",
    "open turn, no JSON": "UPDATE __agents_states SET open_turn = '{', turn_since = 1 WHERE session_id = 'bad'",
    "open turn, a text": """UPDATE __agents_states SET open_turn = '"x"', turn_since = 1 WHERE session_id = 'bad'""",
    "since, a text": "UPDATE __agents_states SET open_turn = '{}', turn_since = 'x' WHERE session_id = 'bad'",
    "past, no JSON": "UPDATE __agents_fences SET past = '{' WHERE session_id = 'bad'",
    "past, texts": """UPDATE __agents_fences SET past = '["x", 5]' WHERE session_id = 'bad'""",
    "plans, no JSON": "UPDATE __agents_fences SET plans = '{' WHERE session_id = 'bad'",
    "plans, texts": """UPDATE __agents_fences SET plans = '["x", 5]' WHERE session_id = 'bad'""",
    "children, no JSON": "UPDATE __agents_fences SET children = '{' WHERE session_id = 'bad'",
    "children, texts": """UPDATE __agents_fences SET children = '["x", [5], ["y", "z"]]' WHERE session_id = 'bad'""",
    "streams, no JSON": "UPDATE __agents_fences SET streams = '{' WHERE session_id = 'bad'",
    "streams, texts": """UPDATE __agents_fences SET streams = '["x", [5], ["y", "z"]]' WHERE session_id = 'bad'""",
    "usage, no JSON": "UPDATE __agents_usage SET data = '{' WHERE session_id = 'bad'",
    "totals, no JSON": "UPDATE __agents_usage_by_session SET amounts = '{' WHERE session_id = 'bad'",
    "totals of a day, no JSON": "UPDATE __agents_usage_by_day SET amounts = '{'",
    "totals of a day, a list": "UPDATE __agents_usage_by_day SET amounts = '[1]'",
}


@pytest.fixture
async def database() -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase()
    await run_migration(database)
    yield database
    database.close()


async def _filled(database: SqliteDatabase, clock: FakeClock) -> CloudflareStore:
    """Return a store with three expired sessions. Each id was used before, and each session has a finished turn."""
    store = create_cloudflare_store(
        db=database,
        streams=LocalObjects(StreamObject, clock=clock),
        locks=LocalObjects(LockObject, clock=clock),
        state_options=StateStoreOptions(now_ms=clock.now_ms),
    )
    for session_id in SESSIONS:
        await store.state_store.create_session(session_id, agent_type="t")
        await store.delete_session(session_id, fencing_token=1, commit_id="first")
        async with store.turn(session_id, agent_type="t", messages=[{"n": 1}]) as turn:
            turn.record_tokens(model="m", prompt=3)
            turn.state.expires_at = 1
    return store


@pytest.mark.parametrize("name", OF_STATES)
@pytest.mark.parametrize("whole", [True, False])
async def test_the_clean_up_goes_on(database: SqliteDatabase, name: str, *, whole: bool) -> None:
    """ST-51: All expired sessions are deleted completely, the damaged one too."""
    clock = FakeClock(10_000_000)
    store = await _filled(database, clock)
    await database.batch([Statement(OF_STATES[name])])
    state = store.state_store
    gone = await (store if whole else state).cleanup_expired_sessions()
    assert sorted(gone) == sorted(SESSIONS)
    assert list(await state.list_sessions()) == []
    await store.state_store.create_session("bad", agent_type="t")
    assert await store.delete_session("bad", commit_id="second")


@pytest.mark.parametrize("name", OF_STATES)
async def test_one_deletion(database: SqliteDatabase, name: str) -> None:
    """ST-51: A damaged session can be deleted directly and through its parent."""
    clock = FakeClock(10_000_000)
    store = await _filled(database, clock)
    await store.state_store.create_session("child of bad", agent_type="t", parent_session_id="bad")
    await database.batch([Statement(OF_STATES[name])])
    assert await store.delete_session("bad", commit_id="second")
    assert await store.delete_session("bad", commit_id="second")
    assert sorted(state.session_id for state in await store.state_store.list_sessions()) == ["after", "before"]


@pytest.mark.parametrize("name", OF_STATES)
async def test_the_sweep_goes_on(database: SqliteDatabase, caplog: pytest.LogCaptureFixture, name: str) -> None:
    """ST-51: Dead turns before and after the damaged session are closed, and the damaged session is named."""
    clock = FakeClock(10_000_000)
    store = await _filled(database, clock)
    die: LiteralString = """
        UPDATE __agents_states
        SET open_turn = (SELECT facts FROM __agents_runs AS r WHERE r.session_no = __agents_states.session_no), turn_since = ?1
        WHERE session_id = ?2
    """
    await database.batch([Statement(die, (since, session_id)) for since, session_id in ((0, "before"), (2, "after"))])
    await database.batch([Statement(OF_STATES[name])])
    with caplog.at_level(logging.WARNING):
        swept = await store.sweep_turns()
    assert swept.closed == ("before", "after")
    if name.startswith(("owed", "open turn")):
        assert "'bad'" in caplog.text
    [rows] = await database.batch([Statement("SELECT session_id FROM __agents_states WHERE turn_since IS NOT NULL")])
    assert [row[0] for row in rows if row[0] != "bad"] == []


OF_LISTS: dict[str, LiteralString] = {
    "run, output": "UPDATE __agents_runs SET output = '{' WHERE turn = 2",
    "run, facts": "UPDATE __agents_runs SET facts = '{' WHERE turn = 2",
    "run, bytes": "UPDATE __agents_runs SET output = x'00ff' WHERE turn = 2",
    "run, depth": "UPDATE __agents_runs SET output = replace(hex(zeroblob(30000)), '0', '[') WHERE turn = 2",
    "reference, output": "UPDATE __agents_sub_sessions SET output = '{' WHERE sub_session_id = 'r2'",
    "reference, bytes": "UPDATE __agents_sub_sessions SET output = x'00ff' WHERE sub_session_id = 'r2'",
    "checkpoint, custom state": "UPDATE __agents_checkpoints SET custom_state = '{' WHERE id % 16777216 = 2",
    "checkpoint, details": "UPDATE __agents_checkpoints SET details = '[]' WHERE id % 16777216 = 2",
    "staged, no JSON": "UPDATE __agents_staged_changes SET change = '{' WHERE tool_call_id = 'c2'",
    "staged, a number": "UPDATE __agents_staged_changes SET change = '5' WHERE tool_call_id = 'c2'",
    "staged, bytes": "UPDATE __agents_staged_changes SET change = x'00ff' WHERE tool_call_id = 'c2'",
}


@pytest.mark.parametrize("name", OF_LISTS)
async def test_lists_of_one_session_go_on(database: SqliteDatabase, name: str) -> None:
    """ST-51: Runs, references, checkpoints and staged changes are listed, and a damaged row is marked as damaged."""
    store = D1StateStore(database)
    await store.create_session("s", agent_type="t")
    for n in (1, 2, 3):
        await store.update_state("s", lambda state, n=n: state.custom_state.update(n=n))  # type: ignore[misc]
        await store.save_checkpoint("s")
        await store.start_run("s", f"run {n}")
        await store.add_sub_session_refs("s", [{"sub_session_id": f"r{n}", "agent_type": "t", "output": n}])
        await store.stage_changes("s", "step", {"toolCallId": f"c{n}", "mergeChanges": {"values": {"n": n}}})
    await database.batch([Statement(OF_LISTS[name])])

    runs = await store.list_runs("s")
    assert [run.turn for run in runs] == [3, 2, 1]
    references = await store.get_sub_session_refs("s")
    assert [each.sub_session_id for each in references] == ["r1", "r2", "r3"]
    checkpoints = (await store.list_checkpoints("s")).items
    assert [each.state.custom_state for each in checkpoints if each.state is not None][::2] == [{"n": 3}, {"n": 1}]
    staged = await store.get_staged_changes("s")
    assert [each.tool_call_id for each in staged] == ["c1", "c2", "c3"]
    kind = name.partition(",")[0]
    if kind == "run" and name != "run, facts":
        assert "cannot be read" in str(runs[1].error)
        with pytest.raises(D1StateError, match="run 'run 2'"):
            await store.update_run("s", "run 2", step_count=1)
        await store.update_run("s", "run 3", status="completed")
    if kind == "reference":
        assert [str(each.error or each.output)[:7] for each in references] == ["1", "the row", "3"]
    if kind == "checkpoint":
        assert checkpoints[1].state is not None
        assert checkpoints[1].state.extra["unreadable"]
        with pytest.raises(D1StateError, match="cannot be read"):
            await store.get_checkpoint("s", checkpoints[1].id)
    if kind == "staged":
        with pytest.raises(StagingError, match="'c2'"):
            await store.promote_staging("s", "step")


async def test_a_damaged_block_of_messages(database: SqliteDatabase) -> None:
    """ST-51: The other messages can be read, in the view too. A call that needs the damaged block names it and returns no wrong message."""
    store = D1StateStore(database)
    for session_id in ("bad", "good"):
        await store.save(
            AgentState(session_id=session_id, agent_type="t", messages=[{"content": "0"}, {"content": "1"}])
        )
        await store.save_checkpoint(session_id)
        await store.append_messages(session_id, [{"n": 2}, {"n": "x" * 3_000}])
        await store.append_messages(session_id, [{"n": 4}])
    blocks: LiteralString = "SELECT id, count FROM __agents_message_blocks ORDER BY id"
    [rows] = await database.batch([Statement(blocks)])
    damage: LiteralString = "UPDATE __agents_message_blocks SET body = '{' WHERE id = ?1"
    await database.batch([Statement(damage, (rows[0][0],))])
    with pytest.raises(D1StateError, match="message 0 of session 'bad'"):
        await store.load_state("bad")
    with pytest.raises(D1StateError, match="message 0 of session 'bad'"):
        await store.get_messages("bad")
    [listed] = (await store.list_checkpoints("bad")).items
    assert listed.state is not None
    assert (listed.message_count, bool(listed.state.extra["unreadable"]), listed.state.version) == (2, True, 0)
    assert (await store.load_state("good", required=True)).messages[0] == {"content": "0"}
    view: LiteralString = "SELECT session_id, sequence, message FROM __agents_messages ORDER BY session_id, sequence"
    [shown] = await database.batch([Statement(view)])
    assert next(row[2] for row in shown if row[0] == "good") == '{"content":"0"}'
    assert ["bad", 0, "{"] in [list(row) for row in shown]
