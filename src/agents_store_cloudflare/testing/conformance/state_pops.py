"""The conformance tests of a `StateStore` for messages of any shape, pops, and appends that make a session."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from agents_store_cloudflare.contract.errors import (
    CheckpointKeptError,
    D1StateError,
    InvalidArgumentError,
    StaleStateError,
    StateNotFoundError,
)
from agents_store_cloudflare.contract.state.records import AgentState
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing.conformance.fixtures import StateFixtures

__all__ = ["PopConformance"]

OBJECTS: list[dict[str, Any]] = [
    {},
    {"type": "function_call", "call_id": "c", "arguments": '{"a":\t1}'},
    {"type": "reasoning", "summary": [], "n": 1.0, "big": 2**60},
    {"role": None, "text": 'tab\t, line\nbreak, NUL\x00, "quoted" \\ 🎉'},
]
LONG = "ё" * 2_500
"""A text of 5,000 bytes, which is more than a commit keeps."""

ROUNDS = 40


def _items(*names: object) -> list[dict[str, Any]]:
    return [{"item": name} for name in names]


async def _stored(store: D1StateStore, session_id: str) -> list[Any]:
    page = await store.get_messages(session_id, limit=1_000)
    assert page.total == len(page)
    return [message.get("item") for message in cast("list[dict[str, Any]]", list(page))]


class PopConformance(StateFixtures):
    """The contract of `StateStore` on the end of a history, clause by clause."""

    async def test_any_object_is_a_message(self, state_store: D1StateStore, unique: str) -> None:
        """ST-47: Any JSON object is a message. It is stored, read, saved and popped unchanged."""
        assert await state_store.append_messages(unique, OBJECTS, create="x") == 0
        state = await state_store.load_state(unique, required=True)
        assert state.messages == OBJECTS
        state.messages += cast("Any", OBJECTS)
        await state_store.save(state)
        assert list(await state_store.get_messages(unique)) == OBJECTS * 2
        popped = await state_store.pop_messages(unique, 8)
        assert popped == OBJECTS * 2
        assert type(cast("Any", popped[2])["n"]) is float

    async def test_popping(self, state_store: D1StateStore, unique: str) -> None:
        """ST-48: A pop removes the last messages and returns them, the oldest first, whether a block ends there or not."""
        for block in (["0", "1", "2"], ["3"], ["x" * 9_000], ["y" * 9_000, "🎉", "7"]):
            await state_store.append_messages(unique, _items(*block), create="x")
        everything = await _stored(state_store, unique)
        for count, left in ((1, 7), (2, 5), (2, 3)):
            assert await state_store.pop_messages(unique, count) == _items(*everything[left : left + count])
            assert await _stored(state_store, unique) == everything[:left]
        assert await state_store.append_messages(unique, _items("new")) == 3
        assert await state_store.pop_messages(unique, 1_000) == _items(*everything[:3], "new")
        assert await _stored(state_store, unique) == []

    async def test_popping_from_an_empty_session(self, state_store: D1StateStore, unique: str) -> None:
        """ST-48: A pop from an empty session returns nothing and changes nothing. A missing session is an error."""
        await state_store.create_session(unique, agent_type="x")
        assert await state_store.pop_messages(unique) == []
        assert (await state_store.load_state(unique, required=True)).version == 1
        with pytest.raises(StateNotFoundError):
            await state_store.pop_messages(f"{unique}-none")

    async def test_states_loaded_before_are_stale(self, state_store: D1StateStore, unique: str) -> None:
        """ST-48: A pop raises the version and begins another history, so loaded states are stale."""
        await state_store.append_messages(unique, _items("a", "b"), create="x")
        state = await state_store.load_state(unique, required=True)
        await state_store.pop_messages(unique)
        await state_store.append_messages(unique, _items("c"))
        with pytest.raises(StaleStateError):
            await state_store.save(state)
        state.version = 3
        with pytest.raises(StaleStateError) as raised:
            await state_store.save(state)
        assert raised.value.reason == "history"

    @pytest.mark.parametrize("text", ["short", LONG])
    async def test_popping_on_a_version(self, state_store: D1StateStore, unique: str, text: str) -> None:
        """ST-48: A pop with another `expected_version` removes nothing."""
        await state_store.append_messages(unique, _items(text), create="x")
        with pytest.raises(StaleStateError) as raised:
            await state_store.pop_messages(unique, expected_version=2)
        assert (raised.value.expected, raised.value.actual) == (2, 1)
        assert await state_store.pop_messages(unique, expected_version=1) == _items(text)

    @pytest.mark.parametrize("text", ["short", LONG])
    async def test_what_checkpoints_count(self, state_store: D1StateStore, unique: str, text: str) -> None:
        """ST-48: A message that a kept checkpoint counts stays, unless the call may delete the checkpoint."""
        await state_store.append_messages(unique, _items("first"), create="x")
        kept = await state_store.save_checkpoint(unique)
        await state_store.append_messages(unique, _items(text))
        await state_store.save_checkpoint(unique)
        with pytest.raises(CheckpointKeptError) as raised:
            await state_store.pop_messages(unique)
        assert (raised.value.count, raised.value.kept) == (1, 2)
        assert await state_store.pop_messages(unique, drop_checkpoints=True) == _items(text)
        assert [each.id for each in (await state_store.list_checkpoints(unique)).items] == [kept.id]

    async def test_a_repeated_pop(self, state_store: D1StateStore, unique: str) -> None:
        """ST-48, ST-10: A pop that is repeated with its commit id returns the same messages and removes no others."""
        await state_store.append_messages(unique, _items(*range(5)), create="x")
        first = await state_store.pop_messages(unique, 2, commit_id="pop")
        await state_store.append_messages(unique, _items("later"))
        assert await state_store.pop_messages(unique, 2, commit_id="pop") == first == _items(3, 4)
        assert await _stored(state_store, unique) == [0, 1, 2, "later"]
        with pytest.raises(InvalidArgumentError, match="other arguments"):
            await state_store.pop_messages(unique, 1, commit_id="pop")
        await state_store.delete_session(unique)
        with pytest.raises(StateNotFoundError) as raised:
            await state_store.pop_messages(unique, 2, commit_id="pop")
        assert raised.value.deleted_since

    async def test_a_repeated_pop_of_long_messages(self, state_store: D1StateStore, unique: str) -> None:
        """ST-48: Messages that are too long for a commit are popped once. A repetition says that they are not kept."""
        await state_store.append_messages(unique, _items("stays", LONG, LONG), create="x")
        assert await state_store.pop_messages(unique, 2, commit_id="pop") == _items(LONG, LONG)
        with pytest.raises(D1StateError, match="removed 2 messages"):
            await state_store.pop_messages(unique, 2, commit_id="pop")
        assert await _stored(state_store, unique) == ["stays"]

    @pytest.mark.parametrize("padding", ["", LONG], ids=["short", "long"])
    async def test_pops_and_appends_at_the_same_time(
        self, state_store: D1StateStore, unique: str, padding: str
    ) -> None:
        """ST-48, ST-29: Every message is popped once or still stored. None is lost, and none comes twice."""
        rounds = ROUNDS // 4 if padding else ROUNDS
        popped: list[Any] = []

        async def pop(count: int) -> None:
            popped.extend(await state_store.pop_messages(unique, count))

        await state_store.append_messages(unique, _items("first"), create="x")
        added = [[f"{number}.{index}{padding}" for index in range(1 + number % 3)] for number in range(rounds)]
        appends = [state_store.append_messages(unique, _items(*each), create="x") for each in added]
        pops = [pop(1 + number % 2) for number in range(rounds)]
        await asyncio.gather(*(call for pair in zip(appends, pops, strict=True) for call in pair))
        taken = [message["item"] for message in popped]
        everything = ["first", *(name for each in added for name in each)]
        assert sorted([*taken, *await _stored(state_store, unique)]) == sorted(everything)

    async def test_an_append_that_makes_its_session(self, state_store: D1StateStore, unique: str) -> None:
        """ST-49: With `create` a missing session is made in the same transaction. A stored session keeps its agent type."""
        with pytest.raises(StateNotFoundError):
            await state_store.append_messages(unique, _items("a"))
        assert await state_store.append_messages(unique, _items("a"), create="first") == 0
        assert await state_store.append_messages(unique, _items("b"), create="second") == 1
        state = await state_store.load_state(unique, required=True)
        assert (state.agent_type, state.version, state.stream_id) == ("first", 2, unique)
        assert await _stored(state_store, unique) == ["a", "b"]
        with pytest.raises(InvalidArgumentError, match="create"):
            await state_store.append_messages(state, _items("c"), create="x")

    async def test_appends_that_make_one_session(self, state_store: D1StateStore, unique: str) -> None:
        """ST-49: Of twenty concurrent appends one makes the session, and all are stored. Each repetition returns its first result."""

        async def append(number: int) -> int:
            return await state_store.append_messages(unique, _items(number), create="x", commit_id=f"{unique}-{number}")

        firsts = await asyncio.gather(*map(append, range(20)))
        assert sorted(firsts) == list(range(20))
        assert await asyncio.gather(*map(append, range(20))) == firsts
        assert sorted(await _stored(state_store, unique)) == list(range(20))
        assert (await state_store.load_state(unique, required=True)).version == 20

    async def test_an_append_after_a_deletion(self, state_store: D1StateStore, unique: str) -> None:
        """ST-49, ST-42: An append that is repeated after the deletion of its session makes no new session."""
        await state_store.append_messages(unique, _items("a"), create="x", commit_id="one")
        await state_store.delete_session(unique)
        assert await state_store.append_messages(unique, _items("a"), create="x", commit_id="one") == 0
        assert not await state_store.exists(unique)
        await state_store.save(AgentState(session_id=unique, agent_type="y"))
        assert await _stored(state_store, unique) == []
