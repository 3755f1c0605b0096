"""The conformance tests of a `StateStore` for callers that repeat calls, race, and change their objects meanwhile."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from agents_store_cloudflare.contract.errors import (
    InvalidArgumentError,
    StaleFencingTokenError,
    StaleStateError,
    StateNotFoundError,
)
from agents_store_cloudflare.contract.state.records import AgentState, Message
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing.conformance.fixtures import StateFixtures

__all__ = ["RequestsConformance"]

FAR_MS = 4_000_000_000_000


def _message(content: str) -> Message:
    return {"role": "user", "content": content}


class RequestsConformance(StateFixtures):
    """The contract of `StateStore` for repetitions, parallel callers and objects that change meanwhile."""

    async def test_writes_of_a_deleted_session(self, state_store: D1StateStore, unique: str) -> None:
        """ST-42: A write that is repeated after its session was deleted and made again returns its first result and changes nothing."""
        await state_store.create_session(unique, agent_type="x", commit_id="create")
        assert await state_store.append_messages(unique, [_message("old")], commit_id="append") == 0
        merged = await state_store.merge_custom_state(unique, {"a": 1}, commit_id="merge")
        assert merged.version == 3
        assert await state_store.delete_session(unique)
        assert await state_store.append_messages(unique, [_message("old")], commit_id="append") == 0
        await state_store.create_session(unique, agent_type="x")
        assert await state_store.append_messages(unique, [_message("old")], commit_id="append") == 0
        for repeat in (
            state_store.create_session(unique, agent_type="x", commit_id="create"),
            state_store.merge_custom_state(unique, {"a": 1}, commit_id="merge"),
        ):
            with pytest.raises(StateNotFoundError) as raised:
                await repeat
            assert raised.value.deleted_since
        with pytest.raises(InvalidArgumentError, match="append_messages"):
            await state_store.delete_session(unique, commit_id="append")
        state = await state_store.load_state(unique, required=True)
        assert (state.version, state.messages, state.custom_state) == (1, [], {})

    async def test_an_older_deletion(self, state_store: D1StateStore, unique: str) -> None:
        """ST-42: A deletion that is repeated after a later deletion or a cleanup leaves the new session alone."""
        for commit_id in ("d1", "d2"):
            await state_store.create_session(unique, agent_type="x")
            assert await state_store.delete_session(unique, commit_id=commit_id)
        await state_store.save(AgentState(session_id=unique, agent_type="x", expires_at=1), commit_id="save")
        assert unique in await state_store.cleanup_expired_sessions(2, 1_000)
        await state_store.create_session(unique, agent_type="x")
        assert [await state_store.delete_session(unique, commit_id=each) for each in ("d1", "d2")] == [True, True]
        old = AgentState(session_id=unique, agent_type="x", expires_at=1)
        assert await state_store.save(old, commit_id="save") == 1
        assert await state_store.exists(unique)

    async def test_calls_that_change_nothing_keep_the_fence(self, state_store: D1StateStore, unique: str) -> None:
        """ST-11: The store keeps the token of a call that changes nothing, and of a repetition."""
        await state_store.create_session(unique, agent_type="x", fencing_token=1, commit_id="c")
        await state_store.compare_and_set_status(unique, ["none"], "x", fencing_token=2)
        await self._refuses(state_store, unique, 1)
        await state_store.promote_staging(unique, "none", fencing_token=3)
        await self._refuses(state_store, unique, 2)
        await state_store.truncate_messages(unique, 9, fencing_token=4)
        await self._refuses(state_store, unique, 3)
        await state_store.create_session(unique, agent_type="x", fencing_token=5, commit_id="c")
        await self._refuses(state_store, unique, 4)
        await state_store.delete_session(f"{unique}-none", fencing_token=7)
        with pytest.raises(StaleFencingTokenError):
            await state_store.create_session(f"{unique}-none", agent_type="x", fencing_token=6)

    async def _refuses(self, store: D1StateStore, session_id: str, token: int) -> None:
        with pytest.raises(StaleFencingTokenError):
            await store.update_status(session_id, "stale", fencing_token=token)

    async def test_messages_added_while_others_are_appended(self, state_store: D1StateStore, unique: str) -> None:
        """ST-44: Messages that other tasks add to the state during a save or an append are stored by the next save."""
        state = await state_store.create_session(unique, agent_type="x")
        first = _message("first")
        appending = asyncio.create_task(state_store.append_messages(state, [first]))
        await asyncio.sleep(0)
        state.messages.append(_message("second"))
        first["content"] = "changed"
        await appending
        saving = asyncio.create_task(state_store.save(state))
        await asyncio.sleep(0)
        state.messages.append(_message("third"))
        await saving
        await state_store.save(state)
        stored = [message.get("content") for message in await state_store.get_messages(unique)]
        assert stored == ["first", "second", "third"] == [message.get("content") for message in state.messages]

    async def test_an_edit_while_a_save_is_under_way(self, state_store: D1StateStore, unique: str) -> None:
        """ST-44: A stored message that was edited during a save counts as edited, so nothing is lost silently."""
        state = AgentState(session_id=unique, agent_type="x", messages=[_message("sent")])
        saving = asyncio.create_task(state_store.save(state))
        await asyncio.sleep(0)
        cast("dict[str, object]", state.messages[0])["content"] = "edited"
        await saving
        with pytest.raises(StaleStateError) as raised:
            await state_store.save(state)
        assert raised.value.reason == "edited"

    async def test_a_change_while_a_promotion_is_under_way(self, state_store: D1StateStore, unique: str) -> None:
        """ST-44: A promotion stores the state as it was at the call. A later change makes the state stale."""
        state = await state_store.create_session(unique, agent_type="x", initial_state={"a": 1})
        promoting = asyncio.create_task(
            state_store.save_state_and_promote_staging(unique, state, step_id="s", checkpoint=False)
        )
        await asyncio.sleep(0)
        state.custom_state["b"] = 2
        await promoting
        assert (await state_store.load_state(unique, required=True)).custom_state == {"a": 1}
        assert state.custom_state == {"a": 1, "b": 2}
        with pytest.raises(StaleStateError):
            await state_store.save(state)

    async def test_destructive_calls_take_a_version(self, state_store: D1StateStore, unique: str) -> None:
        """ST-45: With another version than the expected one nothing is removed."""
        state = AgentState(session_id=unique, agent_type="x", messages=[_message("1")])
        kept = await state_store.save_checkpoint(unique, state)
        for call in (
            state_store.truncate_messages(unique, 0, expected_version=9, drop_checkpoints=True),
            state_store.restore_checkpoint(unique, kept.id, expected_version=9),
            state_store.prune_checkpoints(unique, keep_last=1, expected_version=9),
            state_store.discard_staging(unique, "s", expected_version=9),
            state_store.delete_session(unique, expected_version=9),
        ):
            with pytest.raises(StaleStateError):
                await call
        assert await state_store.load_state(unique) == state
        assert await state_store.delete_session(unique, expected_version=1)

    async def test_sixteen_at_once(self, state_store: D1StateStore, unique: str) -> None:
        """ST-46: Sixteen concurrent merges and updates all succeed."""
        await state_store.create_session(unique, agent_type="x", initial_state={"merged": [], "updates": 0})

        def count(state: AgentState) -> None:
            state.custom_state["updates"] = cast("int", state.custom_state["updates"]) + 1

        await asyncio.gather(
            *(state_store.merge_custom_state(unique, {"merged": [number]}) for number in range(8)),
            *(state_store.update_state(unique, count) for _ in range(8)),
        )
        stored = (await state_store.load_state(unique, required=True)).custom_state
        assert (sorted(cast("list[int]", stored["merged"])), stored["updates"]) == ([*range(8)], 8)

    async def test_an_old_deadline(self, state_store: D1StateStore, unique: str) -> None:
        """ST-32, ST-33: Neither a restore nor a fork brings the deadline of a checkpoint back."""
        state = AgentState(session_id=unique, agent_type="x", expires_at=5)
        kept = await state_store.save_checkpoint(unique, state)
        state.expires_at = FAR_MS
        await state_store.save(state)
        fork = await state_store.fork_session(unique, kept.id, f"{unique}-fork")
        restored = await state_store.restore_checkpoint(unique, kept.id)
        assert (fork.expires_at, restored.expires_at) == (FAR_MS, FAR_MS)
