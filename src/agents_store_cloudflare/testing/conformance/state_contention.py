"""The conformance tests of a `StateStore` for several writers of one session, and for a writer that lost its lock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from agents_store_cloudflare.contract.errors import RunConflictError, StaleFencingTokenError, StaleStateError
from agents_store_cloudflare.contract.state.marks import ANY_VERSION
from agents_store_cloudflare.contract.state.records import AgentState, Message, StagedChange, SubSessionRef
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing.conformance.fixtures import StateFixtures

__all__ = ["ContentionConformance"]

WRITERS = 50
ROUNDS = 4
OLD, NEW = 3, 4
OldHolder = Callable[[D1StateStore, AgentState, str], Awaitable[object]]


def _message(content: str) -> Message:
    return {"role": "user", "content": content}


def _changed(state: AgentState) -> AgentState:
    state.messages.append(_message("of the old holder"))
    state.custom_state["old"] = True
    return state


async def _set_status(state: AgentState) -> None:
    state.status = "of the old holder"


# Every write of a holder that does not know that it lost its lock.
WRITES: dict[str, OldHolder] = {
    "create_session": lambda store, state, _: store.create_session(
        state.session_id, agent_type="old", exist_ok=True, fencing_token=OLD
    ),
    "save_state": lambda store, state, _: store.save_state(state.session_id, _changed(state), fencing_token=OLD),
    "save": lambda store, state, _: store.save(_changed(state), expected_version=ANY_VERSION, fencing_token=OLD),
    "update_state": lambda store, state, _: store.update_state(state.session_id, _set_status, fencing_token=OLD),
    "update_status": lambda store, state, _: store.update_status(state.session_id, "old", fencing_token=OLD),
    "compare_and_set_status": lambda store, state, _: store.compare_and_set_status(
        state.session_id, ["active"], "old", fencing_token=OLD
    ),
    "increment_resume_count": lambda store, state, _: store.increment_resume_count(state.session_id, fencing_token=OLD),
    "increment_step_count": lambda store, state, _: store.increment_step_count(state.session_id, fencing_token=OLD),
    "append_messages": lambda store, state, _: store.append_messages(state, [_message("old")], fencing_token=OLD),
    "append_messages with create": lambda store, state, _: store.append_messages(
        state.session_id, [_message("old")], create="old", fencing_token=OLD
    ),
    "pop_messages": lambda store, state, _: store.pop_messages(
        state.session_id, drop_checkpoints=True, fencing_token=OLD
    ),
    "truncate_messages": lambda store, state, _: store.truncate_messages(
        state.session_id, 0, drop_checkpoints=True, fencing_token=OLD
    ),
    "replace_messages": lambda store, state, _: store.replace_messages(
        state.session_id, [], expected_version=2, drop_checkpoints=True, fencing_token=OLD
    ),
    "merge_custom_state": lambda store, state, _: store.merge_custom_state(
        state.session_id, {"old": True}, fencing_token=OLD
    ),
    "save_checkpoint": lambda store, state, _: store.save_checkpoint(state.session_id, fencing_token=OLD),
    "save_checkpoint of a state": lambda store, state, _: store.save_checkpoint(
        state.session_id, _changed(state), fencing_token=OLD
    ),
    "restore_checkpoint": lambda store, state, kept: store.restore_checkpoint(
        state.session_id, kept, fencing_token=OLD
    ),
    "fork_session": lambda store, state, kept: store.fork_session(
        state.session_id, kept, f"{state.session_id}-fork", fencing_token=OLD
    ),
    "prune_checkpoints": lambda store, state, _: store.prune_checkpoints(
        state.session_id, keep_last=1, fencing_token=OLD
    ),
    "stage_changes": lambda store, state, _: store.stage_changes(
        state.session_id, "step", StagedChange(tool_call_id="old"), fencing_token=OLD
    ),
    "discard_staging": lambda store, state, _: store.discard_staging(state.session_id, "step", fencing_token=OLD),
    "promote_staging": lambda store, state, _: store.promote_staging(state.session_id, "step", fencing_token=OLD),
    "promote_staging of nothing": lambda store, state, _: store.promote_staging(
        state.session_id, "none", fencing_token=OLD
    ),
    "save_state_and_promote_staging": lambda store, state, _: store.save_state_and_promote_staging(
        state.session_id, _changed(state), step_id="step", fencing_token=OLD
    ),
    "start_run": lambda store, state, _: store.start_run(state.session_id, "old", fencing_token=OLD),
    "update_run": lambda store, state, _: store.update_run(state.session_id, "run", status="failed", fencing_token=OLD),
    "add_sub_session_refs": lambda store, state, _: store.add_sub_session_refs(
        state.session_id, [SubSessionRef(sub_session_id="old", agent_type="x")], fencing_token=OLD
    ),
    "update_sub_session_ref": lambda store, state, _: store.update_sub_session_ref(
        state.session_id, "ref", status="failed", fencing_token=OLD
    ),
    "delete_session": lambda store, state, _: store.delete_session(state.session_id, fencing_token=OLD),
    "delete_session with a commit id": lambda store, state, _: store.delete_session(
        state.session_id, fencing_token=OLD, commit_id="old"
    ),
}


class ContentionConformance(StateFixtures):
    """The contract of `StateStore` under contention, clause by clause."""

    async def _everything(self, store: D1StateStore, session_id: str) -> str:
        """Return all stored rows of a session."""
        return repr(
            [
                await store.load_state(session_id),
                (await store.list_checkpoints(session_id)).items,
                await store.get_staged_changes(session_id),
                await store.list_runs(session_id),
                await store.get_sub_session_refs(session_id),
                await store.exists(f"{session_id}-fork"),
            ]
        )

    @pytest.mark.parametrize("write", WRITES)
    async def test_a_holder_that_was_fenced_out(self, state_store: D1StateStore, unique: str, write: str) -> None:
        """ST-11: A holder that lost its lock is refused by every call, and nothing is written."""
        store = state_store
        state = await store.create_session(unique, agent_type="x", fencing_token=OLD)
        state.messages.append(_message("kept"))
        kept = await store.save_checkpoint(unique, state, fencing_token=OLD)
        await store.save_checkpoint(unique)
        await store.stage_changes(unique, "step", StagedChange(tool_call_id="t", merge_changes={"a": 1}))
        await store.start_run(unique, "run")
        await store.add_sub_session_refs(unique, [SubSessionRef(sub_session_id="ref", agent_type="x")])
        # The new holder has written, and so has the holder of the fork's id. Neither has changed the version that the old holder
        # expects.
        await store.stage_changes(unique, "mine", StagedChange(tool_call_id="t"), fencing_token=NEW)
        await store.delete_session(f"{unique}-fork", fencing_token=NEW)
        before = await self._everything(store, unique)
        with pytest.raises(StaleFencingTokenError) as raised:
            await WRITES[write](store, state, kept.id)
        assert (raised.value.expected, raised.value.actual) == (NEW, OLD)
        assert await self._everything(store, unique) == before

    async def test_statuses_are_compared_exactly(self, state_store: D1StateStore, unique: str) -> None:
        """ST-26, ST-39: Statuses are compared exactly, whatever their characters."""
        every = "".join(map(chr, [*range(0xA0), 0x2028, 0x2029, 0xFEFF, 0xFFFF, 0x1F389]))
        statuses = ["a", "a\x00b", "a\x00", "\x00", every, '"', "\\", "[]", '","', "1", "null", "é", "e\u0301"]
        await state_store.create_session(unique, agent_type="x")
        for number, status in enumerate(statuses):
            await state_store.update_status(unique, status)
            others = [other for other in statuses if other != status]
            assert not await state_store.compare_and_set_status(unique, others, "stolen")
            with pytest.raises(RunConflictError):
                await state_store.start_run(unique, f"r{number}", expect_statuses=others)
            await state_store.start_run(unique, f"r{number}", expect_statuses=[status])
            assert await state_store.compare_and_set_status(unique, [status], "mine")

    async def test_fifty_writers(self, state_store: D1StateStore, unique: str) -> None:
        """ST-8: In each round exactly one of fifty saves from one version succeeds. No message is lost or doubled."""
        await state_store.create_session(unique, agent_type="x")
        winners: list[str] = []
        for number in range(ROUNDS):
            version = number + 1
            refusals: list[tuple[str, int | None, int | None]] = []
            states = [await state_store.load_state(unique, required=True, messages="none") for _ in range(WRITERS)]

            async def save(
                name: str, state: AgentState, version: int = version, refusals: list[Any] = refusals
            ) -> str | None:
                state.messages.append(_message(name))
                try:
                    await state_store.save_state(unique, state, expected_version=version)
                except StaleStateError as error:
                    refusals.append((error.reason, error.expected, error.actual))
                    return None
                return name

            saved = await asyncio.gather(*(save(f"{number}.{n}", state) for n, state in enumerate(states)))
            assert sum(name is not None for name in saved) == 1
            assert refusals == [("version", version, version + 1)] * (WRITERS - 1)
            winners += [name for name in saved if name is not None]
        page = await state_store.get_messages(unique)
        assert [message.get("content") for message in page] == winners
        assert len(set(winners)) == page.total == ROUNDS

    async def test_promoting_and_discarding_at_once(self, state_store: D1StateStore, unique: str) -> None:
        """ST-37: A staged change is promoted or discarded, never both, even if both calls race."""
        await state_store.create_session(unique, agent_type="x")
        for number in range(10):
            change = StagedChange(tool_call_id="t", merge_changes={str(number): True})
            await state_store.stage_changes(unique, "step", change)
            calls = (state_store.promote_staging(unique, "step"), state_store.discard_staging(unique, "step"))
            promoted, discarded = await asyncio.gather(*calls)
            state = await state_store.load_state(unique, required=True)
            assert len(promoted.applied) + discarded == 1
            assert (str(number) in state.custom_state) == bool(promoted.applied)

    async def test_promotions_over_any_version(self, state_store: D1StateStore, unique: str) -> None:
        """ST-37, ST-38: When several saves promote the same step at once with `ANY_VERSION`, one of them promotes it."""
        await state_store.create_session(unique, agent_type="x")
        await state_store.stage_changes(unique, "step", StagedChange(tool_call_id="t", merge_changes={"list": [1]}))

        async def promote() -> tuple[str, ...]:
            state = await state_store.load_state(unique, required=True)
            promoted = await state_store.save_state_and_promote_staging(
                unique, state, step_id="step", expected_version=ANY_VERSION
            )
            return promoted.applied

        assert sorted(await asyncio.gather(*(promote() for _ in range(4)))) == [(), (), (), ("t",)]

    async def test_a_mixture(self, state_store: D1StateStore, unique: str) -> None:
        """ST-25, ST-27, ST-29, ST-35: Different concurrent writes are all stored, each once."""
        await state_store.create_session(unique, agent_type="x", initial_state={"n": 0})

        async def add(state: AgentState) -> None:
            state.custom_state["n"] = cast("int", state.custom_state["n"]) + 1

        calls: list[Awaitable[Any]] = []
        for number in range(8):
            calls += [
                state_store.append_messages(unique, [_message(str(number))]),
                state_store.increment_step_count(unique),
                state_store.update_state(unique, add, attempts=100),
            ]
        await asyncio.gather(*calls)
        state = await state_store.load_state(unique, required=True)
        assert (state.custom_state, state.step_count, state.version) == ({"n": 8}, 8, 25)
        assert sorted(str(message.get("content")) for message in state.messages) == [str(n) for n in range(8)]
