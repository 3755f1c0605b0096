"""Usage beside homes: once, in order, and in the totals a second later."""

import logging
from typing import Any

import pytest

from agents_store_cloudflare import (
    AgentState,
    CloudflareStore,
    UsageError,
    UsageOptions,
)
from agents_store_cloudflare.contract.streams.records import StreamMark
from agents_store_cloudflare.database import SqlError, Statement
from agents_store_cloudflare.usage.prices import as_price_book
from tests.homes.worlds import HomeWorld

ENTRIES = "SELECT id, session_id FROM __agents_usage ORDER BY id"


@pytest.fixture
def world() -> HomeWorld:
    return HomeWorld()


def _tokens(session_id: str, count: int, **more: Any) -> dict[str, Any]:
    tokens = {"prompt": count, "completion": 0}
    source = {"type": "agent", "name": "a"}
    return {"sessionId": session_id, "kind": "tokens", "source": source, "model": "m", "tokens": tokens, **more}


async def _save(store: CloudflareStore, session_id: str, *usage: dict[str, Any]) -> None:
    state = await store.state_store.load_state(session_id) or AgentState(session_id=session_id, agent_type="x")
    await store.state_store.save_state(session_id, state, usage=usage)


async def _total(store: CloudflareStore, session_id: str) -> int:
    return (await store.usage_store.get_rollup(session_id)).tokens.total


async def test_usage_follows_a_save(world: HomeWorld) -> None:
    """HM-8: Usage saved with a state is in the totals a second later. A question for the session's usage gets it at once."""
    store = await world.store()
    await _save(store, "ada", _tokens("ada", 3))
    assert await store.usage_store.find_session_ids() == []
    await world.pass_time(1)
    assert await store.usage_store.find_session_ids() == ["ada"]
    await _save(store, "ada", _tokens("ada", 4))
    assert await _total(store, "ada") == 7
    assert len(await store.usage_store.get_entries("ada")) == 2
    assert await store.usage_store.get_entry_count("ada") == 2


async def test_usage_counts_once(world: HomeWorld) -> None:
    """HM-8: A lost reply of D1, and an object that dies after it, double nothing."""
    store = await world.store()
    await _save(store, "ada", _tokens("ada", 3), _tokens("ada", 4))
    real = world.d1.batch

    async def lost(statements: Any) -> Any:
        await real(statements)
        raise SqlError("D1_ERROR: the reply was lost")

    world.d1.batch = lost  # type: ignore[method-assign]
    await world.pass_time(3)
    assert len(await world.rows(ENTRIES)) == 2
    world.sessions.restart()
    world.d1.batch = real  # type: ignore[method-assign]
    await world.pass_time(60)
    assert await _total(store, "ada") == 7
    assert len(await world.rows(ENTRIES)) == 2


async def test_d1_out_of_reach(world: HomeWorld) -> None:
    """HM-8: A home keeps the usage that D1 does not have yet. Meanwhile a question for the session's usage raises an error."""
    store = await world.store()
    world.d1.is_out = True
    await _save(store, "ada", _tokens("ada", 3))
    await world.pass_time(100)
    with pytest.raises(UsageError, match="home of session 'ada'"):
        await store.usage_store.get_rollup("ada")
    world.d1.is_out = False
    await world.pass_time(60)
    assert await world.rows("SELECT session_id FROM __agents_usage") == [["ada"]]


async def test_a_refusal_sets_one_entry_aside(world: HomeWorld, caplog: pytest.LogCaptureFixture) -> None:
    """HM-8: An entry that D1 refuses for good is set aside with a line in the log. The entries behind it do not wait."""
    store = await world.store()
    await world.database.batch(
        [
            Statement(
                """
                CREATE TRIGGER refuse BEFORE INSERT ON __agents_usage WHEN NEW.id = 'bad'
                BEGIN SELECT RAISE(ABORT, 'agents-store {"fault":"sum"}'); END
                """
            )
        ]
    )
    for entry_id in ("one", "bad", "two"):
        await _save(store, "ada", _tokens("ada", 1, id=entry_id))
    with caplog.at_level(logging.ERROR):
        await world.pass_time(1)
    assert [row[0] for row in await world.rows(ENTRIES)] == ["one", "two"]
    assert "position 2 of session 'ada'" in caplog.text
    before = world.d1.batches
    await world.pass_time(300)
    assert world.d1.batches == before


async def test_prices_are_fixed_with_the_save(world: HomeWorld) -> None:
    """HM-8: An entry keeps the cost of the moment of its save, whenever D1 gets it."""
    book = as_price_book({"version": "1", "models": {"m": {"prompt": 2_000_000, "completion": 0}}})
    store = await world.store(usage=UsageOptions(price_book=book))
    await _save(store, "ada", _tokens("ada", 3))
    [entry] = await store.usage_store.get_entries("ada")
    assert (entry.cost_micros, entry.price_version) == (6, "1")


async def test_usage_of_deleted_sessions(world: HomeWorld) -> None:
    """HM-8: A deletion with usage deletes the entries in D1 and the waiting ones. Entries that are saved later count."""
    store = await world.store()
    await _save(store, "ada", _tokens("ada", 3))
    await world.pass_time(1)
    await _save(store, "ada//child", _tokens("ada//child", 3))
    state = await store.state_store.load_state("ada", required=True)
    await store.state_store.save(state, usage=[_tokens("ada", 10)])
    await store.state_store.delete_session("ada", delete_usage=True)
    await _save(store, "ada", _tokens("ada", 1))
    assert await _total(store, "ada") == 1
    assert await _total(store, "ada//child") == 3
    assert await store.delete_session("ada")
    assert await world.rows("SELECT session_id FROM __agents_usage") == [["ada//child"]]


async def test_rollups_of_trees(world: HomeWorld) -> None:
    """HM-8: the rollup of a tree counts the children that the directory knows."""
    store = await world.store()
    await _save(store, "ada", _tokens("ada", 3))
    await store.state_store.create_session("ada//child", agent_type="x", parent_session_id="ada")
    await _save(store, "ada//child", _tokens("ada//child", 4))
    await world.pass_time(1)
    assert (await store.usage_store.get_rollup("ada", include_sub_agents=True)).tokens.total == 7
    assert [rollup.session_id for rollup in await store.usage_store.get_tree_rollups("ada")] == ["ada", "ada//child"]


async def test_a_deletion_leaves_what_a_later_session_used(world: HomeWorld) -> None:
    """HM-8, SM-37: A session that others make before the deletion ends keeps its usage, also when the call is repeated."""
    store = await world.store()
    await _save(store, "ada", _tokens("ada", 3))
    await store.usage_store.record_entry(_tokens("ada", 5))
    async with store.stream_manager.create_writer("ada", "a", "t") as writer:
        await writer.write({"type": "text"})
    delete = store.stream_manager.delete_marked_stream

    async def beside(stream_id: str, mark: StreamMark) -> StreamMark | None:
        await _save(store, "ada", _tokens("ada", 7))
        return await delete(stream_id, mark)

    store.stream_manager.delete_marked_stream = beside  # type: ignore[method-assign]
    for _ in range(2):
        assert await store.delete_session("ada", commit_id="d")
        assert await _total(store, "ada") == 7


@pytest.mark.parametrize("commit_id", [None, "d"])
async def test_others_delete_the_state_alone_in_between(world: HomeWorld, commit_id: str | None) -> None:
    """SM-37: What they left of the tree in D1 and in the streams is deleted, and the session counts as deleted."""
    store = await world.store()
    for session_id, parent in (("ada", None), ("ada//child", "ada")):
        await store.state_store.create_session(session_id, agent_type="x", parent_session_id=parent)
        await _save(store, session_id, _tokens(session_id, 3))
        async with store.stream_manager.create_writer(session_id, "a", "t") as writer:
            await writer.write({"type": "text"})
    mark = store.stream_manager.mark_stream
    meddled: list[bool] = []

    async def beside(stream_id: str, **token: Any) -> StreamMark | None:
        if not meddled:
            meddled.append(await store.state_store.delete_session("ada"))
        return await mark(stream_id, **token)

    store.stream_manager.mark_stream = beside  # type: ignore[method-assign]
    assert await store.delete_session("ada", commit_id=commit_id) is True
    assert meddled == [True]
    assert await world.rows("SELECT session_id FROM __agents_usage") == []
    for session_id in ("ada", "ada//child"):
        assert await store.stream_manager.get_info(session_id) is None
    assert await store.delete_session("ada", commit_id=commit_id) is (commit_id is not None)


async def test_others_have_deleted_the_state_alone(world: HomeWorld) -> None:
    """SM-37: What the whole tree has left in D1 and in the streams is deleted, soon."""
    store = await world.store()
    for session_id, parent in (("ada", None), ("ada//child", "ada"), ("ada//grandchild", "ada//child")):
        await store.state_store.create_session(session_id, agent_type="x", parent_session_id=parent)
        await _save(store, session_id, _tokens(session_id, 3))
        async with store.stream_manager.create_writer(session_id, "a", "t") as writer:
            await writer.write({"type": "text"})
    assert await store.state_store.delete_session("ada")
    await _save(store, "ada//child", _tokens("ada//child", 4))
    assert not await store.delete_session("ada")
    await world.pass_time(1)
    assert await world.rows("SELECT session_id FROM __agents_usage") == [["ada//child"]] * 2
    left = [name for name in ("ada", "ada//child", "ada//grandchild") if await store.stream_manager.get_info(name)]
    assert left == ["ada//child"]


async def test_usage_of_an_id_without_a_session(world: HomeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """SM-37: A deletion that failed before D1's usage completes when it is repeated, once, whoever has recorded since."""
    store = await world.store()
    await store.usage_store.record_entry(_tokens("ada", 5))
    real = store.usage_store.delete

    async def broken(*_: Any, **__: Any) -> int:
        raise UsageError("no reply")

    monkeypatch.setattr(store.usage_store, "delete", broken)
    with pytest.raises(UsageError):
        await store.delete_session("ada", commit_id="d")
    monkeypatch.setattr(store.usage_store, "delete", real)
    for expected in (0, 4):
        assert not await store.delete_session("ada", commit_id="d")
        assert await _total(store, "ada") == expected
        await store.usage_store.record_entry(_tokens("ada", 4))


async def test_the_tree_of_a_new_child(world: HomeWorld) -> None:
    """HM-8: The usage of a session with its descendants counts a child that the directory does not have yet."""
    store = await world.store()
    await store.state_store.create_session("ada", agent_type="x")
    await store.state_store.create_session("ada//child", agent_type="x", parent_session_id="ada")
    await store.usage_store.record_tool("ada//child", tool_name="t", duration_ms=1, success=True)
    assert (await store.usage_store.get_rollup("ada", include_sub_agents=True)).entry_count == 1
    assert len(await store.usage_store.get_tree_rollups("ada")) == 2
