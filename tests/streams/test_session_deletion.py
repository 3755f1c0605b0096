"""A store deletes a session with all that is its: streams, usage, state."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agents_store_cloudflare import AgentState, CloudflareStore, create_cloudflare_store
from agents_store_cloudflare.contract.errors import StaleFencingTokenError, StreamConnectionError
from agents_store_cloudflare.contract.state.records import SubSessionRef
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.objects.rpc_text import decode_request
from agents_store_cloudflare.state.deletions import MOST_LEFT
from agents_store_cloudflare.streams.options import StreamOptions
from agents_store_cloudflare.testing import FakeClock, LocalObjects, SqliteDatabase
from agents_store_cloudflare.testing.faults import FaultyDatabase, FaultyNamespace, Moment
from agents_store_cloudflare.usage import UsageOptions


class Store:
    """A store whose streams can fail, and where others can act just before a call to a stream."""

    def __init__(self) -> None:
        clock = FakeClock()
        self.database = SqliteDatabase()
        self.faults = FaultyDatabase(self.database)
        self.namespace = FaultyNamespace(LocalObjects(StreamObject, clock=clock))
        self._meddling: tuple[str, Callable[[], Awaitable[object]]] | None = None
        self.store: CloudflareStore = create_cloudflare_store(
            db=self.faults, streams=self, stream_options=StreamOptions(sleep=self._no_pause)
        )

    def before(self, operation: str, meddle: Callable[[], Awaitable[object]]) -> None:
        """Let others act once, just before a stream gets a call of this operation."""
        self._meddling = operation, meddle

    async def call(self, name: str, request: str) -> str:
        """`ObjectNamespace.call`."""
        if self._meddling is not None and decode_request(request).head["op"] == self._meddling[0]:
            (_, meddle), self._meddling = self._meddling, None
            await meddle()
        return await self.namespace.call(name, request)

    async def _no_pause(self, _seconds: float) -> None:
        """Replace every pause with none."""

    async def fill(self, *sessions: tuple[str, str | None]) -> None:
        for session_id, parent_session_id in sessions:
            state = AgentState(session_id=session_id, agent_type="a", parent_session_id=parent_session_id)
            await self.store.state_store.save(state)
            await self.store.usage_store.record_entries(
                [
                    {
                        "kind": "custom",
                        "session_id": session_id,
                        "source": {"type": "agent", "name": "a"},
                        "name": "n",
                        "value": 1,
                    }
                ]
            )
            async with self.store.stream_manager.create_writer(session_id, "a", "t", fencing_token=5) as writer:
                await writer.write({"type": "text"})

    async def sequences(self, stream_id: str) -> list[int] | None:
        """Return the first and the last number of a stream."""
        info = await self.store.stream_manager.get_info(stream_id)
        return None if info is None else [info.first_sequence, info.last_sequence]

    async def left(self, *session_ids: str) -> list[str]:
        """Return the sessions of which anything is left."""
        return [
            session_id
            for session_id in session_ids
            if await self.store.state_store.exists(session_id)
            or await self.store.stream_manager.get_info(session_id) is not None
            or await self.store.usage_store.exists(session_id)
        ]


@pytest.fixture
async def store() -> Store:
    store = Store()
    await store.store.migrate()
    await store.fill(("root", None), ("child", "root"), ("grandchild", "child"), ("other", None))
    return store


ALL = ("root", "child", "grandchild", "other")


async def test_a_session_goes_with_its_descendants_and_streams(store: Store) -> None:
    """SM-37: Nothing of the tree is left. A session whose stream was never made is deleted too. Other sessions stay."""
    await store.store.stream_manager.delete_stream("grandchild")
    assert await store.store.delete_session("root") is True
    assert await store.left(*ALL) == ["other"]
    assert await store.store.delete_session("root") is False


UNREACHABLE: list[Moment] = ["before"] * 4
"""An object that gives no reply, however often it is asked."""


async def test_a_deletion_that_was_not_decided(store: Store) -> None:
    """SM-37: A stream out of reach before the decision raises, and nothing is deleted. A repetition deletes everything."""
    store.namespace.fail(*UNREACHABLE)
    with pytest.raises(StreamConnectionError):
        await store.store.delete_session("root")
    assert await store.left(*ALL) == [*ALL]
    assert await store.store.delete_session("root") is True
    assert await store.left(*ALL) == ["other"]


@pytest.mark.parametrize("commit_id", [None, "d"])
async def test_a_deletion_that_was_broken_off(store: Store, commit_id: str | None) -> None:
    """SM-37: Streams out of reach after the decision raise. A repetition deletes the streams of the whole tree."""

    async def break_off() -> None:
        store.namespace.fail(*UNREACHABLE)

    store.before("delete_marked", break_off)
    with pytest.raises(StreamConnectionError):
        await store.store.delete_session("root", commit_id=commit_id)
    assert await store.left(*ALL) == [*ALL]
    assert not await store.store.state_store.exists("grandchild")
    assert await store.store.delete_session("root", commit_id=commit_id) is (commit_id is not None)
    assert await store.left(*ALL) == ["other"]


async def test_a_repetition_after_others_have_made_the_session_again(store: Store) -> None:
    """SM-37, ST-42: A deletion that failed midway deletes only the session that it first found, not a newer one."""
    store.namespace.fail(*UNREACHABLE)
    with pytest.raises(StreamConnectionError):
        await store.store.delete_session("other", commit_id="d")
    assert await store.store.delete_session("other")
    await store.fill(("other", None))
    assert await store.store.delete_session("other", commit_id="d") is True
    assert await store.store.state_store.exists("other")
    assert await store.store.usage_store.exists("other")
    assert await store.sequences("other") == [2, 2]


@pytest.mark.parametrize("commit_id", [None, "d"])
async def test_others_delete_the_state_alone_in_between(store: Store, commit_id: str | None) -> None:
    """SM-37: The streams and the usage that they left are deleted, of the whole tree, and the session counts as deleted."""
    store.before("mark", lambda: store.store.state_store.delete_session("root"))
    assert await store.store.delete_session("root", commit_id=commit_id) is True
    assert await store.left(*ALL) == ["other"]
    assert await store.store.delete_session("root", commit_id=commit_id) is (commit_id is not None)


async def test_others_delete_the_state_alone_before_a_repetition(store: Store) -> None:
    """SM-37, ST-42: A deletion that failed before the decision completes, as if the others had come first."""
    store.namespace.fail(*UNREACHABLE)
    with pytest.raises(StreamConnectionError):
        await store.store.delete_session("other", commit_id="d")
    await store.store.state_store.delete_session("other")
    for _ in range(2):
        assert await store.store.delete_session("other", commit_id="d") is False
    assert await store.left("other") == []
    await store.fill(("other", None))
    assert await store.store.delete_session("other", commit_id="d") is False
    assert await store.sequences("other") == [2, 2]
    assert await store.store.usage_store.exists("other")


@pytest.mark.parametrize("commit_id", [None, "d"])
@pytest.mark.parametrize("is_begun", [False, True])
async def test_others_have_deleted_the_state_of_the_tree_alone(
    store: Store, commit_id: str | None, *, is_begun: bool
) -> None:
    """SM-37: The usage and the streams that the whole tree has left go too, also when the first attempt died undecided."""
    state = await store.store.state_store.load_state("grandchild")
    assert state is not None
    state.stream_id = "renamed"
    await store.store.state_store.save(state)
    async with store.store.stream_manager.create_writer("renamed", "a", "t") as writer:
        await writer.write({"type": "text"})
    if is_begun:
        store.namespace.fail(*UNREACHABLE)
        with pytest.raises(StreamConnectionError):
            await store.store.delete_session("root", commit_id=commit_id)
    assert await store.store.state_store.delete_session("root")
    for _ in range(2):
        assert await store.store.delete_session("root", commit_id=commit_id) is False
        assert await store.left("root", "child", "renamed", "other") == ["other"]
        assert not await store.store.usage_store.exists("grandchild")
    [rows] = await store.database.batch([Statement("SELECT count(*) FROM __agents_fences WHERE children IS NOT NULL")])
    assert list(rows[0]) == [0]


async def test_others_have_cleaned_up_the_state_of_the_tree_alone(store: Store) -> None:
    """SM-37: A clean-up of the state alone keeps the names of each tree, as a deletion does."""
    for session_id in ("root", "other"):
        state = await store.store.state_store.load_state(session_id)
        assert state is not None
        state.expires_at = 1
        await store.store.state_store.save(state)
    assert set(await store.store.state_store.cleanup_expired_sessions()) == {*ALL}
    assert await store.left(*ALL) == [*ALL]
    assert await store.store.delete_session("root") is False
    assert await store.left(*ALL) == ["other"]
    assert await store.store.delete_session("other") is False
    assert await store.left(*ALL) == []


@pytest.mark.parametrize("dies_again", [False, True])
async def test_others_have_made_a_part_of_the_tree_again(store: Store, *, dies_again: bool) -> None:
    """SM-37: A session that is made again keeps its own, or leaves it. The names below it end where its state is deleted alone too."""
    await store.store.state_store.delete_session("root")
    await store.fill(("child", None))
    if dies_again:
        await store.store.state_store.delete_session("child")
    assert await store.store.delete_session("root") is False
    assert await store.left(*ALL) == (["child", "grandchild", "other"] if dies_again else ["child", "other"])
    assert await store.store.usage_store.exists("child")
    assert (await store.sequences("child") or [0])[-1] == 2


async def test_a_remote_child_and_a_shared_stream_stay(store: Store) -> None:
    """SM-37: A sub-session that belongs to another store stays, and a stream that another session uses."""
    remote = SubSessionRef(sub_session_id="child", agent_type="a", location="remote")
    await store.store.state_store.add_sub_session_refs("root", [remote])
    other = await store.store.state_store.load_state("other")
    assert other is not None
    other.stream_id = "root"
    await store.store.state_store.save(other)
    await store.store.state_store.delete_session("root")
    assert await store.store.delete_session("root") is False
    assert not await store.store.usage_store.exists("root")
    assert await store.left(*ALL) == ["root", "child", "grandchild", "other"]


async def test_others_delete_and_make_a_part_of_the_tree_in_between(store: Store) -> None:
    """SM-37: A session that they made keeps its usage and its chunks; the rest of the tree goes."""

    async def make_child_again() -> None:
        await store.store.delete_session("root")
        await store.fill(("child", None))

    store.before("mark", make_child_again)
    assert await store.store.delete_session("root") is True
    assert await store.left(*ALL) == ["child", "other"]
    assert await store.sequences("child") == [2, 2]
    assert await store.store.usage_store.exists("child")


async def test_a_repetition_after_the_decision_keeps_new_chunks(store: Store) -> None:
    """SM-37: If a new session has taken over the stream, the repetition drops only the old chunks."""

    async def break_off() -> None:
        store.namespace.fail(*UNREACHABLE)

    store.before("delete_marked", break_off)
    with pytest.raises(StreamConnectionError):
        await store.store.delete_session("other", commit_id="d")
    await store.fill(("other", None))
    assert await store.store.delete_session("other", commit_id="d") is True
    assert await store.store.state_store.exists("other")
    assert await store.sequences("other") == [2, 2]


@pytest.mark.parametrize("is_lost", [False, True])
@pytest.mark.parametrize("made", ["a new child", "a child again", "the session itself"])
async def test_a_session_that_is_made_before_the_decision(store: Store, made: str, *, is_lost: bool) -> None:
    """SM-37: A descendant that is made between the question and the decision goes with its stream, and so does a session again."""
    root = "other" if made == "the session itself" else "root"
    names = {
        "a new child": ("new", "grandchild"),
        "a child again": ("child", "root"),
        "the session itself": ("other", None),
    }

    async def make() -> None:
        if made == "a child again":
            await store.store.delete_session("child")
        await store.fill(names[made])
        if is_lost:
            store.faults.fail("after")

    async def wait_for_the_last_mark() -> None:
        async def second() -> None:
            store.before("mark", make)

        store.before("mark", second)

    if made == "the session itself":
        await store.store.state_store.delete_session("other")
    store.before("mark", make if root == "other" else wait_for_the_last_mark)
    assert await store.store.delete_session(root, commit_id="d") is True
    assert await store.left("root", "child", "grandchild", "new", "other") == (
        ["root", "child", "grandchild"] if root == "other" else ["other"]
    )


async def test_a_session_that_is_made_while_another_is_deleted(store: Store) -> None:
    """SM-37: A session that others make in between keeps its chunks, in the old stream or in a new one."""
    store.before("delete_marked", lambda: store.fill(("other", None)))
    assert await store.store.delete_session("other") is True
    assert await store.store.state_store.exists("other")
    assert await store.sequences("other") == [2, 2]

    async def make_again() -> None:
        await store.store.delete_session("other")
        await store.fill(("other", None))

    store.before("mark", make_again)
    assert await store.store.delete_session("other") is True
    assert await store.store.state_store.exists("other")
    assert await store.sequences("other") == [3, 3]


async def test_a_writer_of_the_deleted_session(store: Store) -> None:
    """SM-37: Chunks that the deleted session's own writer stores in between are deleted with the stream."""

    async def write() -> None:
        async with store.store.stream_manager.create_writer("other", "a", "t") as writer:
            await writer.write({"type": "text"})

    store.before("delete_marked", write)
    assert await store.store.delete_session("other") is True
    assert await store.left("other") == []


async def test_a_newer_holder_in_between(store: Store) -> None:
    """SM-37: A holder that comes before the decision keeps its session, and the refusal changes no stream."""
    state_store = store.store.state_store
    store.before("mark", lambda: state_store.update_status("root", "running", fencing_token=9))
    with pytest.raises(StaleFencingTokenError):
        await store.store.delete_session("root", fencing_token=8)
    assert await store.left(*ALL) == [*ALL]
    assert await store.sequences("grandchild") == [1, 1]


async def test_what_stays_of_a_deleted_session_is_small(store: Store) -> None:
    """ST-42: The row of a deleted id has at most 5,000 bytes of each kind of commit, the newest ones, and at most eight plans."""
    state_store = store.store.state_store
    for number in range(40):
        await state_store.update_status("other", "x" * 400, commit_id=f"{number:03}{'i' * 480}")
    for number in range(12):
        store.namespace.fail(*UNREACHABLE)
        with pytest.raises(StreamConnectionError):
            await store.store.delete_session("other", commit_id=f"{number:03}{'p' * 480}")
    await store.store.delete_session("other", commit_id="d")
    select = Statement("SELECT length(past), json_array_length(plans) FROM __agents_fences WHERE session_id = 'other'")
    [[[past, plans]]] = await store.database.batch([select])
    assert 4_000 < int(past or 0) <= 10_000
    assert plans == 7, "its own plan is gone"
    assert await store.store.delete_session("other", commit_id="d") is True
    await state_store.create_session("other", agent_type="a")
    version = await state_store.update_status("other", "x" * 400, commit_id=f"{39:03}{'i' * 480}")
    assert (await state_store.load_state("other", required=True)).status == "active"
    assert version > 1
    assert await store.store.delete_session("other", commit_id=f"{11:03}{'p' * 480}") is True
    assert await state_store.exists("other")


async def test_usage_in_a_table_of_ones_own() -> None:
    """SM-37, US-8: Usage in another table is deleted in the transaction of the state."""
    database, streams = SqliteDatabase(), LocalObjects(StreamObject, clock=FakeClock())
    store = create_cloudflare_store(db=database, streams=streams, usage_options=UsageOptions(table_name="mine"))
    await store.migrate()
    await store.usage_store.ensure_table()
    for session_id in ("a", "b"):
        parent = None if session_id == "a" else "a"
        await store.state_store.save(AgentState(session_id=session_id, agent_type="x", parent_session_id=parent))
        await store.usage_store.record_custom(session_id, name="n", value=1)
    await store.usage_store.record_custom("c", name="n", value=1)
    assert await store.delete_session("a")
    assert await store.usage_store.find_session_ids() == ["c"]
    assert [each.entry_count for each in await store.usage_store.get_totals("agent")] == [1]


async def test_a_stale_holder_deletes_nothing(store: Store) -> None:
    """SM-13, SM-37: A token below the highest of a stream is refused, and the session does not change."""
    with pytest.raises(StaleFencingTokenError):
        await store.store.delete_session("root", fencing_token=4)
    assert await store.left(*ALL) == [*ALL]


async def test_a_token_that_one_stream_refuses(store: Store) -> None:
    """SM-37: When the last of several streams refuses the token, the other streams do not change."""
    async with store.store.stream_manager.create_writer("grandchild", "a", "t", fencing_token=9) as writer:
        await writer.write({"type": "text"})
    with pytest.raises(StaleFencingTokenError):
        await store.store.delete_session("root", fencing_token=8)
    assert await store.left(*ALL) == [*ALL]


async def test_what_has_no_state_row(store: Store) -> None:
    """SM-37: If the state row is gone, streams and usage are deleted, a stream with another name included."""
    state = await store.store.state_store.load_state("other", required=True)
    state.stream_id = "shared"
    await store.store.state_store.save(state)
    async with store.store.stream_manager.create_writer("shared", "a", "t") as writer:
        await writer.write({"type": "text"})
    assert await store.store.state_store.delete_session("other")
    assert await store.store.delete_session("other") is False
    assert await store.store.stream_manager.get_info("shared") is None
    assert not await store.store.usage_store.exists("other")


async def test_a_stream_that_another_session_uses(store: Store) -> None:
    """SM-37: A shared stream stays as long as the other session exists."""
    for name in ("one", "two"):
        await store.store.state_store.save(AgentState(session_id=name, agent_type="a", stream_id="room"))
    async with store.store.stream_manager.create_writer("room", "a", "t") as writer:
        await writer.write({"type": "text"})
    assert await store.store.delete_session("one")
    assert await store.store.stream_manager.get_info("room") is not None
    assert await store.store.delete_session("two")
    assert await store.store.stream_manager.get_info("room") is None


async def test_a_deletion_repeated_after_the_session_was_made_again(store: Store) -> None:
    """SM-37, ST-42: A repetition with its commit id changes neither the new session nor its stream."""
    assert await store.store.delete_session("other", commit_id="d")
    await store.fill(("other", None))
    assert await store.store.delete_session("other", commit_id="d")
    assert await store.store.state_store.exists("other")
    assert await store.store.stream_manager.get_info("other") is not None


async def test_cleaning_up_everything(store: Store) -> None:
    """SM-45: Expired sessions are deleted with their streams and usage."""
    state = await store.store.state_store.load_state("root", required=True)
    state.expires_at = 1
    await store.store.state_store.save(state)
    assert sorted(await store.store.cleanup_expired_sessions()) == ["child", "grandchild", "root"]
    assert await store.left(*ALL) == ["other"]


async def test_a_session_that_is_made_while_expired_ones_are_cleaned_up(store: Store) -> None:
    """SM-45: A session of the same id that others make in between keeps its chunks."""
    state = await store.store.state_store.load_state("other", required=True)
    state.expires_at = 1
    await store.store.state_store.save(state)
    store.before("delete_marked", lambda: store.fill(("other", None)))
    assert await store.store.cleanup_expired_sessions() == ["other"]
    assert await store.store.state_store.exists("other")
    assert await store.sequences("other") == [2, 2]


async def test_a_session_that_expires_while_others_are_cleaned_up(store: Store) -> None:
    """SM-37: Its stream is deleted too, although it was not in the first list."""
    for session_id, when in (("root", 1), ("other", None)):
        state = await store.store.state_store.load_state(session_id, required=True)
        state.expires_at = when
        await store.store.state_store.save(state)

    async def expire() -> None:
        state = await store.store.state_store.load_state("other", required=True)
        state.expires_at = 1
        await store.store.state_store.save(state)

    store.before("mark", expire)
    assert len(await store.store.cleanup_expired_sessions()) == 4
    assert await store.left(*ALL) == []


@pytest.mark.parametrize("has_last_number", [False, True])
@pytest.mark.parametrize("call", ["cleanup_expired_trees", "carry_out"])
async def test_a_descendant_that_is_made_again_before_the_decision(
    store: Store, monkeypatch: pytest.MonkeyPatch, call: str, *, has_last_number: bool
) -> None:
    """SM-37, SM-45: The new child goes with its parent, and so does its stream, which is not the stream that was marked."""
    states = store.store.state_store
    if has_last_number:  # the new child gets the number of the former
        await store.store.delete_session("other")
    state = await states.load_state("root", required=True)
    state.expires_at = 1 if call == "cleanup_expired_trees" else None
    await states.save(state)
    decide = getattr(states, call)

    async def after_others(*arguments: Any, **named: Any) -> Any:
        monkeypatch.undo()
        assert await store.store.delete_session("child")
        await store.fill(("child", "root"))
        return await decide(*arguments, **named)

    monkeypatch.setattr(states, call, after_others)
    if call == "carry_out":
        assert await store.store.delete_session("root")
    else:
        assert set(await store.store.cleanup_expired_sessions()) == {"root", "child"}
    assert await store.left(*ALL) == ([] if has_last_number else ["other"])


async def test_the_streams_of_a_large_tree_are_forgotten(store: Store) -> None:
    """ST-42: When the streams are gone, the id keeps no long list of them."""
    await store.fill(*((f"child-{number}", "root") for number in range(8)))
    await store.store.delete_session("root")
    select = Statement("SELECT streams FROM __agents_fences WHERE session_id = 'root'")
    assert await store.database.batch([select]) == [[[None]]]


async def test_a_child_that_others_make_again_before_a_repetition(store: Store) -> None:
    """SM-37: A new child keeps its stream and its usage, and a stream that another session uses stays. The rest goes."""
    states = store.store.state_store
    other = await states.load_state("other", required=True)
    other.stream_id = "grandchild"
    await states.save(other)
    assert await states.delete_session("root")
    await store.fill(("child", None))
    assert await store.store.delete_session("root") is False
    assert await states.exists("child")
    assert await store.sequences("child") == [1, 2]
    assert await store.store.usage_store.exists("child")
    assert not await store.store.usage_store.exists("grandchild")
    assert await store.sequences("grandchild") == [1, 1]
    assert await store.sequences("root") is None


async def test_a_tree_that_others_delete_twice(store: Store) -> None:
    """SM-37: The names of both trees are kept, also when the root is made again, and its deletion takes them all."""
    states = store.store.state_store
    assert await states.delete_session("root")
    await store.fill(("root", None), ("late", "root"))
    assert await states.delete_session("root")
    await store.fill(("root", None))
    assert await store.store.delete_session("root") is True
    assert await store.left(*ALL, "late") == ["other"]


async def test_the_longest_names_fit_in_one_row(store: Store) -> None:
    """SM-37: A deleted session's row holds the names of 800 children beside 800 streams that are left, however long the names are."""
    for number in range(MOST_LEFT + 1):
        child = AgentState(session_id=f"{number:03}" + 509 * '"', agent_type="a", parent_session_id="root")
        await store.store.state_store.save(child)
    await store.store.state_store.delete_session("root")
    left = [[f"s{number:03}" + 508 * '"', ["9" * 16, 2**53 - 1, 2**53 - 1]] for number in range(MOST_LEFT)]
    keep = "UPDATE __agents_fences SET streams = ?1, past = ?2, plans = ?2 WHERE session_id = 'root'"
    size = "SELECT length(CAST(children || streams || past || plans AS BLOB)) FROM __agents_fences WHERE session_id = 'root'"
    written = [Statement(keep, (json.dumps(left), "x" * 10_000)), Statement(size)]
    [_, [[most]]] = await store.database.batch(written)
    assert 1_700_000 < int(most or 0) < 1_900_000
