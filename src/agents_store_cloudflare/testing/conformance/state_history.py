"""The conformance tests of a `StateStore` for messages, checkpoints and forks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from agents_store_cloudflare.contract.errors import (
    CheckpointKeptError,
    CheckpointNotFoundError,
    InvalidArgumentError,
    SessionExistsError,
    StaleStateError,
    StateNotFoundError,
)
from agents_store_cloudflare.contract.state.records import AgentState, Checkpoint, Message
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing.conformance.fixtures import StateFixtures

__all__ = ["HistoryConformance"]


def _messages(*contents: str) -> list[Message]:
    return [{"role": "user", "content": content} for content in contents]


async def _contents(store: D1StateStore, session_id: str) -> list[object]:
    page = await store.get_messages(session_id, limit=1_000)
    assert page.total == len(page)
    return [message.get("content") for message in page]


async def _session_with_checkpoints(store: D1StateStore, session_id: str, count: int) -> list[Checkpoint]:
    """Return a session that got one message and one checkpoint, `count` times."""
    state = AgentState(session_id=session_id, agent_type="x", custom_state={"same": "as ever"})
    kept: list[Checkpoint] = []
    for number in range(count):
        state.messages += _messages(str(number))
        state.step_count = number
        kept.append(await store.save_checkpoint(session_id, state))
    return kept


class HistoryConformance(StateFixtures):
    """The contract of `StateStore` on histories, clause by clause."""

    async def test_appending(self, state_store: D1StateStore, unique: str) -> None:
        """ST-29: Appended messages follow the stored ones. The loaded state is brought up to date and can be saved."""
        state = await state_store.create_session(unique, agent_type="x")
        assert await state_store.append_messages(unique, _messages("a", "b")) == 0
        state = await state_store.load_state(unique, required=True)
        assert await state_store.append_messages(state, _messages("c")) == 2
        assert (state.version, len(state.messages)) == (3, 3)
        state.messages += _messages("d")
        with pytest.raises(InvalidArgumentError, match="not stored yet"):
            await state_store.append_messages(state, _messages("e"))
        await state_store.save(state)
        assert await _contents(state_store, unique) == ["a", "b", "c", "d"]

    async def test_appending_to_a_stale_state_leaves_it_stale(self, state_store: D1StateStore, unique: str) -> None:
        """ST-29: If somebody else wrote since the load, the append succeeds and the state stays stale."""
        state = await state_store.create_session(unique, agent_type="x")
        await state_store.append_messages(unique, _messages("other"))
        assert await state_store.append_messages(state, _messages("own")) == 1
        with pytest.raises(StaleStateError):
            await state_store.save(state)
        assert await _contents(state_store, unique) == ["other", "own"]

    async def test_parallel_appends(self, state_store: D1StateStore, unique: str) -> None:
        """ST-29: Of 20 parallel appends every message is stored once, and the messages of a call stay together."""
        await state_store.create_session(unique, agent_type="x")
        batches = [[f"{n}.{i}" for i in range(1 + n % 4)] for n in range(20)]
        firsts = await asyncio.gather(*(state_store.append_messages(unique, _messages(*batch)) for batch in batches))
        stored = await _contents(state_store, unique)
        assert sorted(map(str, stored)) == sorted(content for batch in batches for content in batch)
        for first, batch in zip(firsts, batches, strict=True):
            assert stored[first : first + len(batch)] == batch

    @pytest.mark.parametrize("messages", ["text", {"role": "user"}, [], [1], [["role", "user"]]], ids=range(5))
    async def test_bad_messages(self, state_store: D1StateStore, unique: str, messages: list[Message]) -> None:
        """ST-29, ST-5: A value that is no list of messages is refused, and nothing is written."""
        await state_store.create_session(unique, agent_type="x")
        with pytest.raises((TypeError, InvalidArgumentError)):
            await state_store.append_messages(unique, messages)
        assert await _contents(state_store, unique) == []

    async def test_truncating(self, state_store: D1StateStore, unique: str) -> None:
        """ST-30: The first messages stay, whether a block ends there or not. Later appends follow them."""
        state = AgentState(session_id=unique, agent_type="x")
        for block in (["0", "1\n1", "2"], ["3"], ["4", "ё5", "🎉6", "7"]):
            state.messages += _messages(*block)
            await state_store.save(state)
        everything = [message.get("content") for message in state.messages]
        for count, version in ((9, 3), (8, 3), (6, 4)):
            assert await state_store.truncate_messages(unique, count) == version
            assert await _contents(state_store, unique) == everything[:count]
        with pytest.raises(StaleStateError):
            await state_store.save(state)
        assert await state_store.append_messages(unique, _messages("new")) == 6
        assert await _contents(state_store, unique) == [*everything[:6], "new"]
        for count in (5, 4, 2, 0):
            await state_store.truncate_messages(unique, count)
            assert await _contents(state_store, unique) == everything[:count]

    async def test_replacing(self, state_store: D1StateStore, unique: str) -> None:
        """ST-30: Other messages replace all stored ones at the expected version. States loaded before are stale."""
        state = AgentState(session_id=unique, agent_type="x", messages=_messages("a", "b"))
        await state_store.save(state)
        with pytest.raises(StaleStateError):
            await state_store.replace_messages(unique, _messages("c"), expected_version=2)
        assert await state_store.replace_messages(unique, _messages("c"), expected_version=1) == 2
        assert await _contents(state_store, unique) == ["c"]
        state.messages += _messages("d")
        with pytest.raises(StaleStateError):
            await state_store.save(state)
        assert await state_store.replace_messages(unique, [], expected_version=2) == 3
        assert await _contents(state_store, unique) == []

    async def test_history_that_checkpoints_count(self, state_store: D1StateStore, unique: str) -> None:
        """ST-30: Messages that a kept checkpoint counts stay, unless the call may delete the checkpoints."""
        kept = await _session_with_checkpoints(state_store, unique, 4)
        with pytest.raises(CheckpointKeptError) as raised:
            await state_store.truncate_messages(unique, 2)
        assert (raised.value.count, raised.value.kept) == (2, 4)
        with pytest.raises(CheckpointKeptError):
            await state_store.replace_messages(unique, [], expected_version=4)
        assert await _contents(state_store, unique) == ["0", "1", "2", "3"]
        await state_store.truncate_messages(unique, 2, drop_checkpoints=True)
        page = await state_store.list_checkpoints(unique)
        assert [checkpoint.id for checkpoint in page.items] == [kept[1].id, kept[0].id]
        await state_store.replace_messages(unique, _messages("z"), expected_version=5, drop_checkpoints=True)
        assert (await state_store.list_checkpoints(unique)).items == []
        assert await _contents(state_store, unique) == ["z"]

    async def test_getting_checkpoints(self, state_store: D1StateStore, unique: str) -> None:
        """ST-31: A checkpoint is found by its id within its session, with its state and messages."""
        session_id = f"{unique}-s1-t2-000003/it's"
        kept = await _session_with_checkpoints(state_store, session_id, 3)
        for number, checkpoint in enumerate(kept):
            found = await state_store.get_checkpoint(session_id, checkpoint.id)
            assert found is not None
            assert found.state is not None
            assert (found.message_count, found.step_count, found.id) == (number + 1, number, checkpoint.id)
            assert found.state.messages == _messages(*map(str, range(number + 1)))
            assert found.state.custom_state == {"same": "as ever"}
        await _session_with_checkpoints(state_store, f"{unique}-other", 1)
        assert await state_store.get_checkpoint(f"{unique}-other", kept[0].id) is None
        for wrong in ("nonsense", kept[0].id[:-1] + "f", kept[0].id.replace("-s0-", "-s9-")):
            assert await state_store.get_checkpoint(session_id, wrong) is None

    async def test_listing_checkpoints(self, state_store: D1StateStore, unique: str) -> None:
        """ST-31: Checkpoints are listed newest first, page by page, each with its own state. A bad cursor is refused."""
        kept = await _session_with_checkpoints(state_store, unique, 5)
        seen: list[Checkpoint] = []
        cursor = None
        while True:
            page = await state_store.list_checkpoints(unique, limit=2, cursor=cursor)
            seen += page.items
            cursor = page.next_cursor
            assert page.has_more == (cursor is not None)
            if cursor is None:
                break
        assert [checkpoint.id for checkpoint in seen] == [checkpoint.id for checkpoint in reversed(kept)]
        assert [len(checkpoint.state.messages) for checkpoint in seen if checkpoint.state] == [5, 4, 3, 2, 1]
        bare = await state_store.list_checkpoints(unique, include_state=False)
        assert bare.items == list(reversed(kept))
        assert (await state_store.list_checkpoints(f"{unique}-missing")).items == []
        for bad in ("", "x", "sessions-1", "checkpoints-", "checkpoints-zz", "checkpoints-1 "):
            with pytest.raises(ValueError, match="cursor"):
                await state_store.list_checkpoints(unique, cursor=bad)

    async def test_restoring(self, state_store: D1StateStore, unique: str) -> None:
        """ST-32: A restored session equals the checkpoint. Later messages and checkpoints are gone, and older checkpoints are complete."""
        kept = await _session_with_checkpoints(state_store, unique, 4)
        state = await state_store.load_state(unique, required=True)
        state.messages += _messages("4", "5")
        state.custom_state = {"other": True}
        await state_store.save(state)
        restored = await state_store.restore_checkpoint(unique, kept[1].id)
        assert (restored.version, restored.step_count, restored.custom_state) == (6, 1, {"same": "as ever"})
        assert restored.messages == _messages("0", "1")
        assert restored == await state_store.load_state(unique)
        with pytest.raises(StaleStateError):
            await state_store.save(state)
        restored.messages += _messages("another 2", "another 3", "another 4")
        last = await state_store.save_checkpoint(unique, restored)
        page = await state_store.list_checkpoints(unique)
        assert [checkpoint.id for checkpoint in page.items] == [last.id, kept[1].id, kept[0].id]
        older = page.items[1].state
        assert older is not None
        assert older.messages == _messages("0", "1")
        for gone in (kept[2].id, kept[3].id, "nonsense"):
            with pytest.raises(CheckpointNotFoundError):
                await state_store.restore_checkpoint(unique, gone)

    async def test_restoring_within_a_block(self, state_store: D1StateStore, unique: str) -> None:
        """ST-32: A checkpoint that counts a part of one save's messages is restored to that part."""
        await state_store.create_session(unique, agent_type="x")
        await state_store.append_messages(unique, _messages("a", "b", "c"))
        await state_store.truncate_messages(unique, 2)
        checkpoint = await state_store.save_checkpoint(unique)
        await state_store.append_messages(unique, _messages("d", "e"))
        restored = await state_store.restore_checkpoint(unique, checkpoint.id)
        assert restored.messages == _messages("a", "b")

    async def test_forking(self, state_store: D1StateStore, unique: str) -> None:
        """ST-33: A fork is a copy that shares nothing with its source. Each goes on without the other, and the fork outlives its source."""
        source, fork = f"{unique}-source", f"{unique}-fork"
        kept = await _session_with_checkpoints(state_store, source, 4)
        forked = await state_store.fork_session(source, kept[2].id, fork)
        assert (forked.session_id, forked.version, forked.step_count) == (fork, 1, 2)
        assert (forked.stream_id, forked.parent_session_id) == (fork, None)
        assert forked.messages == _messages("0", "1", "2")
        assert forked == await state_store.load_state(fork)
        forked.messages += _messages("only here")
        await state_store.save_checkpoint(fork, forked)
        await state_store.append_messages(source, _messages("only there"))
        assert await _contents(state_store, source) == ["0", "1", "2", "3", "only there"]
        with pytest.raises(SessionExistsError):
            await state_store.fork_session(source, kept[0].id, fork)
        with pytest.raises(CheckpointNotFoundError):
            await state_store.fork_session(source, kept[0].id.replace("-s0-", "-s7-"), f"{unique}-more")
        with pytest.raises(StateNotFoundError):
            await state_store.fork_session(f"{unique}-none", f"cpv1-{unique}-none-s0-t0-000001", f"{unique}-more")
        assert not await state_store.exists(f"{unique}-more")
        await state_store.prune_checkpoints(source, keep_last=1)
        assert await state_store.delete_session(source)
        assert await _contents(state_store, fork) == ["0", "1", "2", "only here"]
        latest = await state_store.get_latest_checkpoint(fork)
        assert latest is not None
        assert latest.state is not None
        assert latest.state.custom_state == {"same": "as ever"}

    async def test_pruning(self, state_store: D1StateStore, unique: str) -> None:
        """ST-34: The wanted number of newest checkpoints stays, at least one.

        They are complete, also if they shared data with pruned ones.
        """
        kept = await _session_with_checkpoints(state_store, unique, 6)
        for keep, gone in ((6, 0), (4, 2), (4, 0), (1, 3), (1, 0)):
            assert await state_store.prune_checkpoints(unique, keep_last=keep) == gone
            page = await state_store.list_checkpoints(unique)
            assert [checkpoint.id for checkpoint in page.items] == [c.id for c in reversed(kept)][:keep]
            for checkpoint in page.items:
                assert checkpoint.state is not None
                assert checkpoint.state.custom_state == {"same": "as ever"}
        assert await state_store.prune_checkpoints(unique, older_than=0) == 0
        assert await state_store.get_checkpoint(unique, kept[0].id) is None
        with pytest.raises(CheckpointNotFoundError):
            await state_store.restore_checkpoint(unique, kept[0].id)
        with pytest.raises(InvalidArgumentError, match="keep_last"):
            await state_store.prune_checkpoints(unique)
        with pytest.raises(InvalidArgumentError, match="keep_last"):
            await state_store.prune_checkpoints(unique, keep_last=0)

    async def test_pruning_by_age(self, state_store: D1StateStore, unique: str) -> None:
        """ST-34: With an age only older checkpoints are pruned. With both conditions, only checkpoints that neither keeps are pruned."""
        await _session_with_checkpoints(state_store, unique, 3)
        assert await state_store.prune_checkpoints(unique, older_than=3_600) == 0
        assert await state_store.prune_checkpoints(unique, older_than_ms=-0, keep_last=2) <= 1
        latest = await state_store.get_latest_checkpoint(unique)
        assert latest is not None
        assert latest.message_count == 3

    async def test_repeating_a_checkpoint_that_is_gone(self, state_store: D1StateStore, unique: str) -> None:
        """ST-10, ST-16: A repetition returns the first checkpoint unchanged, also after later writes and after it was pruned."""
        state = AgentState(session_id=unique, agent_type="x", step_count=3, messages=_messages("0"))

        async def keep(given: AgentState | None, commit_id: str) -> Checkpoint:
            return await state_store.save_checkpoint(unique, given, run_id="r", stream_sequence=7, commit_id=commit_id)

        first = AgentState.from_dict(state.to_dict())
        with_state, alone = await keep(state, "a"), await keep(None, "b")
        state.messages += _messages("1")
        state.status, state.step_count = "moved\x00on", 4
        later = await keep(state, "c")
        assert await state_store.prune_checkpoints(unique, keep_last=1) == 2
        again = await keep(None, "b")
        assert (again, again.run_id, again.stream_sequence) == (alone, "r", 7)
        assert [await keep(None, "b"), await keep(first, "a"), await keep(state, "c")] == [alone, with_state, later]
        assert (with_state.step_count, with_state.status, with_state.message_count) == (3, "active", 1)
        assert [each.id for each in (await state_store.list_checkpoints(unique)).items] == [later.id]

    async def test_repeated_calls(self, state_store: D1StateStore, unique: str) -> None:
        """ST-10: Each of these calls, repeated with its commit id, returns its first result and has one effect."""
        kept = await _session_with_checkpoints(state_store, unique, 3)

        async def same(*calls: Awaitable[object]) -> None:
            first, second = [await call for call in calls]
            assert first == second

        store = state_store
        await same(*(store.append_messages(unique, _messages("3", "4"), commit_id="append") for _ in range(2)))
        await same(*(store.truncate_messages(unique, 4, commit_id="truncate") for _ in range(2)))
        await same(*(store.increment_step_count(unique, commit_id="step") for _ in range(2)))
        await same(*(store.increment_resume_count(unique, commit_id="resume") for _ in range(2)))
        await same(*(store.prune_checkpoints(unique, keep_last=2, commit_id="prune") for _ in range(2)))
        await same(*(store.restore_checkpoint(unique, kept[1].id, commit_id="restore") for _ in range(2)))
        await same(*(store.fork_session(unique, kept[1].id, f"{unique}-f", commit_id="fork") for _ in range(2)))
        await same(
            *(
                store.replace_messages(unique, [], expected_version=8, drop_checkpoints=True, commit_id="r")
                for _ in "12"
            )
        )
        state = await store.load_state(unique, required=True)
        assert (state.version, state.messages, state.step_count, state.resume_count) == (9, [], 1, 0)
