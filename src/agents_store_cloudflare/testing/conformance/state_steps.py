"""The conformance tests of a `StateStore` for an agent's steps: creation, status, counters, staging, runs, references."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

import pytest

from agents_store_cloudflare.contract.errors import (
    InvalidArgumentError,
    RunConflictError,
    RunNotFoundError,
    SessionExistsError,
    StagingError,
    StaleFencingTokenError,
    StaleStateError,
    StateNotFoundError,
    StateSizeExceededError,
    SubSessionRefNotFoundError,
)
from agents_store_cloudflare.contract.state.records import (
    AgentState,
    CasResult,
    MergeChanges,
    Message,
    PromoteResult,
    StagedChange,
    SubSessionRef,
)
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.state.options import StoreLimits
from agents_store_cloudflare.testing.conformance.families import Families
from agents_store_cloudflare.testing.conformance.fixtures import StateFixtures

__all__ = ["StepsConformance"]


def _patch(tool_call_id: str, *operations: dict[str, Any], timestamp: int | None = None) -> StagedChange:
    return StagedChange(tool_call_id=tool_call_id, patches=list(operations), timestamp=timestamp)


def _merge(tool_call_id: str, timestamp: int | None = None, **values: Any) -> StagedChange:
    return StagedChange(tool_call_id=tool_call_id, merge_changes=MergeChanges(values=values), timestamp=timestamp)


class StepsConformance(Families, StateFixtures):
    """The contract of `StateStore` on steps, clause by clause."""

    async def test_creating(self, state_store: D1StateStore, unique: str) -> None:
        """ST-24: A new session has the given values. If the id is in use, creation fails, or returns the stored session unchanged."""
        state = await state_store.create_session(unique, agent_type="x", initial_state={"n": 2**60})
        assert (state.version, state.custom_state, state.status, state.messages) == (1, {"n": 2**60}, "active", [])
        assert state == await state_store.load_state(unique)
        state.messages.append({"role": "user"})
        await state_store.save(state)
        with pytest.raises(SessionExistsError):
            await state_store.create_session(unique, agent_type="y")
        stored = await state_store.create_session(unique, agent_type="y", exist_ok=True)
        assert stored == state
        stored.messages.append({"role": "assistant"})
        assert await state_store.save(stored) == 3

    async def test_creating_children(
        self, state_store: D1StateStore, unique: str, member: Callable[[str, str], str]
    ) -> None:
        """ST-24: a child's root is its parent's root."""
        for name, parent in (("a", None), ("b", "a"), ("c", "b")):
            await state_store.create_session(
                member(unique, name), agent_type="x", parent_session_id=parent and member(unique, parent)
            )
        grandchild = await state_store.load_state(member(unique, "c"), required=True)
        assert (grandchild.parent_session_id, grandchild.root_session_id) == (member(unique, "b"), member(unique, "a"))

    async def test_racing_creations(self, state_store: D1StateStore, unique: str) -> None:
        """ST-24: Of several concurrent creations one succeeds. With exist_ok all callers get the same session."""
        results = await asyncio.gather(
            *(state_store.create_session(unique, agent_type=str(n)) for n in range(10)), return_exceptions=True
        )
        assert sum(isinstance(result, SessionExistsError) for result in results) == 9
        states = await asyncio.gather(
            *(state_store.create_session(f"{unique}-2", agent_type=str(n), exist_ok=True) for n in range(10))
        )
        assert all(state == states[0] for state in states)

    async def test_updating(self, state_store: D1StateStore, unique: str) -> None:
        """ST-25: Ten concurrent updates all succeed, and each sees the changes of the earlier ones."""
        await state_store.create_session(unique, agent_type="x", initial_state={"n": 0})

        async def add(state: AgentState) -> None:
            await asyncio.sleep(0)
            state.custom_state["n"] = cast("int", state.custom_state["n"]) + 1
            state.messages.append({"role": "user", "content": str(state.custom_state["n"])})

        await asyncio.gather(*(state_store.update_state(unique, add, attempts=50) for _ in range(10)))
        state = await state_store.load_state(unique, required=True)
        assert state.custom_state == {"n": 10}
        assert [message.get("content") for message in state.messages] == [str(n) for n in range(1, 11)]
        again = await state_store.update_state(unique, add, commit_id="eleven")
        assert again == await state_store.update_state(unique, add, commit_id="eleven")
        assert (await state_store.load_state(unique, required=True)).custom_state == {"n": 11}
        with pytest.raises(StateNotFoundError):
            await state_store.update_state(f"{unique}-none", add)
        with pytest.raises(TypeError, match="return None"):
            await state_store.update_state(unique, lambda state: cast("None", state))

    async def test_updating_gives_up(self, state_store: D1StateStore, unique: str) -> None:
        """ST-25: When somebody else saves in between at every attempt, the conflict is raised."""
        await state_store.create_session(unique, agent_type="x")
        calls = 0

        async def disturbed(state: AgentState) -> None:
            nonlocal calls
            calls += 1
            await state_store.update_status(unique, f"s{calls}")

        with pytest.raises(StaleStateError):
            await state_store.update_state(unique, disturbed, attempts=3)
        assert calls == 3

    async def test_compare_and_set(self, state_store: D1StateStore, unique: str) -> None:
        """ST-26: The status changes only from an expected one. An empty collection matches nothing, and a single text is refused."""
        await state_store.create_session(unique, agent_type="x")
        swapped = await state_store.compare_and_set_status(unique, ["paused", "active"], "running")
        assert swapped == CasResult(ok=True, new_version=2, current_status="running", current_version=2)
        assert swapped
        for expected in (["active"], set[str](), ("Running", "running ")):
            refused = await state_store.compare_and_set_status(unique, expected, "stolen")
            assert refused == CasResult(ok=False, new_version=None, current_status="running", current_version=2)
            assert not refused
        with pytest.raises(TypeError, match="expected"):
            await state_store.compare_and_set_status(unique, "running", "x")
        with pytest.raises(StateNotFoundError):
            await state_store.compare_and_set_status(f"{unique}-none", ["active"], "x")
        first = await state_store.compare_and_set_status(unique, ["running"], "done", commit_id="c")
        await state_store.update_status(unique, "moved on")
        assert await state_store.compare_and_set_status(unique, ["running"], "done", commit_id="c") == first

    async def test_racing_compare_and_set(self, state_store: D1StateStore, unique: str) -> None:
        """ST-26: Of 20 concurrent calls one sets the status."""
        await state_store.create_session(unique, agent_type="x")
        results = await asyncio.gather(
            *(state_store.compare_and_set_status(unique, {"active"}, f"taken by {n}") for n in range(20))
        )
        assert sum(map(bool, results)) == 1

    async def test_counters(self, state_store: D1StateStore, unique: str) -> None:
        """ST-27: A counter counts every call once, and the first call returns 1."""
        await state_store.create_session(unique, agent_type="x")
        assert await state_store.increment_resume_count(unique) == 1
        counts = await asyncio.gather(*(state_store.increment_step_count(unique) for _ in range(10)))
        assert sorted(counts) == list(range(1, 11))
        state = await state_store.load_state(unique, required=True)
        assert (state.resume_count, state.step_count, state.version) == (1, 10, 12)
        with pytest.raises(StateNotFoundError):
            await state_store.increment_step_count(f"{unique}-none")

    async def test_full_counters(self, state_store: D1StateStore, unique: str) -> None:
        """ST-27: A counter that is 2^53-1 is refused and nothing changes: a reader would get a rounded count."""
        full = 2**53 - 1
        saved = await state_store.save(
            AgentState(session_id=unique, agent_type="x", step_count=full - 1, resume_count=full)
        )
        assert await state_store.increment_step_count(unique, commit_id="last") == full
        with pytest.raises(InvalidArgumentError, match="step_count"):
            await state_store.increment_step_count(unique)
        with pytest.raises(InvalidArgumentError, match="resume_count"):
            await state_store.increment_resume_count(unique)
        assert await state_store.increment_step_count(unique, commit_id="last") == full
        state = await state_store.load_state(unique, required=True)
        assert (state.step_count, state.resume_count, state.version) == (full, full, saved + 1)

    async def test_listing(self, state_store: D1StateStore, unique: str, member: Callable[[str, str], str]) -> None:
        """ST-28: Sessions are listed newest first, page by page, by prefix, parent, agent type and status."""
        for n in range(7):
            state = AgentState(session_id=member(unique, str(n)), agent_type=f"type {n % 2}", status=f"s{n % 3}")
            state.parent_session_id = member(unique, "parent") if n < 4 else None
            state.messages = [cast("Message", {"role": "user"})]
            await state_store.save(state)
        names = [member(unique, str(n)) for n in (6, 5, 4, 3, 2, 1, 0)]
        assert await self._listed(state_store, prefix=member(unique, "")) == names
        assert await self._listed(state_store, parent_session_id=member(unique, "parent")) == names[3:]
        assert await self._listed(state_store, prefix=member(unique, ""), agent_type="type 1") == [
            names[1],
            names[3],
            names[5],
        ]
        assert await self._listed(state_store, prefix=member(unique, ""), status="s0") == [names[0], names[3], names[6]]
        assert await self._listed(state_store, parent_session_id=member(unique, "parent"), status="s1") == [names[5]]
        assert await self._listed(state_store, prefix=member(unique, ""), parent_session_id="none") == []
        page = await state_store.list_sessions(limit=1)
        assert [(state.session_id, state.messages) for state in page.items] == [(names[0], [])]
        state = page.items[0]
        state.messages.append({"role": "assistant"})
        assert await state_store.save(state) == 2
        with pytest.raises(ValueError, match="cursor"):
            await state_store.list_sessions(cursor="checkpoints-1")

    async def _listed(self, state_store: D1StateStore, **wanted: Any) -> list[str]:
        """Return the ids of all pages. Each page has two."""
        ids: list[str] = []
        cursor: str | None = None
        while True:
            page = await state_store.list_sessions(**wanted, limit=2, cursor=cursor)
            ids += [state.session_id for state in page.items]
            assert page.has_more == (page.next_cursor is not None)
            cursor = page.next_cursor
            if cursor is None:
                return ids

    async def test_merging(self, state_store: D1StateStore, unique: str) -> None:
        """ST-35: Scalars and objects replace, lists append, and named keys replace. A list that replaces another value gives a warning."""
        before = {"kept": 1.0, "n": 1, "o": {"a": 1}, "l": [1], "r": [1], "s": "text"}
        await state_store.create_session(unique, agent_type="x", initial_state=cast("dict[str, Any]", before))
        changes = MergeChanges(
            values={"n": 2**60, "o": {"b": 2}, "l": [2], "r": [2], "s": ["list"], "new": [3]},
            array_replacements=frozenset({"r"}),
        )
        result = await state_store.merge_custom_state(unique, changes)
        assert result.version == 2
        assert len(result.warnings) == 1
        assert "'s'" in result.warnings[0]
        expected = {"kept": 1.0, "n": 2**60, "o": {"b": 2}, "l": [1, 2], "r": [2], "s": ["list"], "new": [3]}
        state = await state_store.load_state(unique, required=True)
        assert repr(state.custom_state) == repr(expected)
        assert (await state_store.merge_custom_state(unique, {"l": [9]}, commit_id="m")).version == 3
        assert (await state_store.merge_custom_state(unique, {"l": [9]}, commit_id="m")).version == 3
        assert (await state_store.load_state(unique, required=True)).custom_state["l"] == [1, 2, 9]
        with pytest.raises(StateNotFoundError):
            await state_store.merge_custom_state(f"{unique}-none", {"a": 1})

    async def test_racing_merges(self, state_store: D1StateStore, unique: str) -> None:
        """ST-35: The values of concurrent merges are all stored."""
        await state_store.create_session(unique, agent_type="x")
        await asyncio.gather(*(state_store.merge_custom_state(unique, {"l": [n]}) for n in range(4)))
        state = await state_store.load_state(unique, required=True)
        assert sorted(cast("list[int]", state.custom_state["l"])) == [0, 1, 2, 3]

    async def test_staging(self, state_store: D1StateStore, unique: str) -> None:
        """ST-36: A change is kept for each step and tool call, and a second change replaces the first.

        Lists come in the order of promotion.
        """
        await state_store.create_session(unique, agent_type="x")
        late, early = _patch("late", timestamp=20), _merge("early", 10, a=[2**60, 1.0, "\x00"])
        for change in (late, early, _merge("also late", 20)):
            assert await state_store.stage_changes(unique, "step/1", change) == change
        await state_store.stage_changes(
            unique, "step/2", {"toolCallId": "other", "mergeChanges": {"x": 1}, "timestamp": 15}
        )
        staged = await state_store.get_staged_changes(unique, "step/1")
        assert [change.tool_call_id for change in staged] == ["early", "late", "also late"]
        assert repr(staged[0]) == repr(early)
        assert [change.tool_call_id for change in await state_store.get_staged_changes(unique)] == [
            "early",
            "other",
            "late",
            "also late",
        ]
        again = await state_store.stage_changes(unique, "step/1", _merge("late", b=1))
        assert again.timestamp is not None
        assert len(await state_store.get_staged_changes(unique, "step/1")) == 3
        assert await state_store.discard_staging(unique, "step/1") == 3
        assert await state_store.discard_staging(unique, "step/1") == 0
        assert [change.tool_call_id for change in await state_store.get_staged_changes(unique)] == ["other"]
        assert (await state_store.load_state(unique, required=True)).version == 1
        with pytest.raises(StateNotFoundError):
            await state_store.stage_changes(f"{unique}-none", "s", late)
        assert await state_store.get_staged_changes(f"{unique}-none") == []

    async def test_staged_changes_are_limited(self, state_store: D1StateStore, unique: str) -> None:
        """ST-12, ST-36: A change over the limit is refused and not kept."""
        await state_store.create_session(unique, agent_type="x")
        with pytest.raises(StateSizeExceededError):
            await state_store.stage_changes(unique, "s", _merge("t", big="x" * 1_800_001))
        assert await state_store.get_staged_changes(unique) == []

    async def test_promoting(self, state_store: D1StateStore, unique: str) -> None:
        """ST-37: A promotion applies the step's changes in order, deletes them and raises the version. A second promotion finds none."""
        await state_store.create_session(unique, agent_type="x", initial_state={"l": [0], "n": {"deep": 1}})
        await state_store.stage_changes(unique, "s", _patch("second", {"op": "remove", "path": "/n/deep"}, timestamp=2))
        await state_store.stage_changes(unique, "s", _merge("first", 1, l=[1], x=1.0))
        await state_store.stage_changes(unique, "t", _merge("another step", l=[99]))
        result = await state_store.promote_staging(unique, "s")
        assert result == PromoteResult(version=2, applied=("first", "second"))
        state = await state_store.load_state(unique, required=True)
        assert repr(state.custom_state) == repr({"l": [0, 1], "n": {}, "x": 1.0})
        assert await state_store.promote_staging(unique, "s") == PromoteResult(version=2)
        assert len(await state_store.get_staged_changes(unique)) == 1
        with pytest.raises(StateNotFoundError):
            await state_store.promote_staging(f"{unique}-none", "s")

    async def test_a_repeated_promotion(self, state_store: D1StateStore, unique: str) -> None:
        """ST-10, ST-37: A promotion that is repeated with its commit id returns its first result with its warnings."""
        await state_store.create_session(unique, agent_type="x", initial_state={"s": 1})
        await state_store.stage_changes(unique, "s", _merge("t", s=["list"]), commit_id="stage")
        first = await state_store.promote_staging(unique, "s", commit_id="promote")
        assert first.warnings
        await state_store.stage_changes(unique, "s", _merge("t", s=["list"]), commit_id="stage")
        await state_store.update_status(unique, "moved on")
        assert await state_store.promote_staging(unique, "s", commit_id="promote") == first
        assert await state_store.get_staged_changes(unique) == []
        assert (await state_store.load_state(unique, required=True)).custom_state == {"s": ["list"]}

    async def test_a_promotion_of_a_deleted_session(self, state_store: D1StateStore, unique: str) -> None:
        """ST-42: A promotion or a merge that is repeated for a new session raises an error that says so."""
        size = StoreLimits().max_state_bytes - 2_000
        wide = {"w": "x" * 4_000}
        change = {"toolCallId": "c", "patches": [{"op": "add", "path": "/x", "value": 1}]}
        await state_store.create_session(unique, agent_type="a")
        await state_store.stage_changes(unique, "step", change)
        await state_store.promote_staging(unique, "step", commit_id="promotion")
        await state_store.merge_custom_state(unique, wide, commit_id="merge")
        await state_store.delete_session(unique)
        await state_store.create_session(unique, agent_type="a", initial_state={"big": "x" * size})
        await state_store.stage_changes(unique, "step", {**change, "patches": [{"op": "remove", "path": "/none"}]})
        with pytest.raises(StateNotFoundError, match="deleted since"):
            await state_store.promote_staging(unique, "step", commit_id="promotion")
        with pytest.raises(StateNotFoundError, match="deleted since"):
            await state_store.merge_custom_state(unique, wide, commit_id="merge")
        with pytest.raises(StagingError):
            await state_store.promote_staging(unique, "step", commit_id="another")

    async def test_a_bad_change_stops_the_promotion(self, state_store: D1StateStore, unique: str) -> None:
        """ST-37: The error names a change that cannot be applied, and nothing is changed."""
        await state_store.create_session(unique, agent_type="x", initial_state={"a": 1})
        await state_store.stage_changes(unique, "s", _merge("good", 1, a=2))
        await state_store.stage_changes(unique, "s", _patch("bad", {"op": "remove", "path": "/nowhere"}, timestamp=2))
        with pytest.raises(StagingError) as raised:
            await state_store.promote_staging(unique, "s")
        assert (raised.value.tool_call_id, raised.value.operation_index) == ("bad", 0)
        state = await state_store.load_state(unique, required=True)
        assert (state.version, state.custom_state) == (1, {"a": 1})
        assert len(await state_store.get_staged_changes(unique, "s")) == 2

    async def test_racing_promotions(self, state_store: D1StateStore, unique: str) -> None:
        """ST-37: Of several concurrent promotions one applies the changes, and the others find none."""
        await state_store.create_session(unique, agent_type="x")
        await state_store.stage_changes(unique, "s", _merge("t", l=[1]))
        results = await asyncio.gather(*(state_store.promote_staging(unique, "s") for _ in range(5)))
        assert sorted(result.applied for result in results) == [(), (), (), (), ("t",)]
        assert (await state_store.load_state(unique, required=True)).custom_state == {"l": [1]}

    async def test_saving_and_promoting(self, state_store: D1StateStore, unique: str) -> None:
        """ST-38: The state, the staged changes and the checkpoint are stored in one transaction."""
        state = await state_store.create_session(unique, agent_type="x", initial_state={"l": [0]})
        await state_store.stage_changes(unique, "s", _merge("t", l=[2]))
        before = AgentState.from_dict(state.to_dict())
        state.custom_state["l"] = [0, 1]
        state.messages.append({"role": "user"})
        result = await state_store.save_state_and_promote_staging(unique, state, step_id="s", commit_id="c")
        assert (result.version, result.applied) == (2, ("t",))
        assert (state.version, state.custom_state) == (2, {"l": [0, 1, 2]})
        assert await state_store.load_state(unique) == state
        latest = await state_store.get_latest_checkpoint(unique)
        assert latest is not None
        assert latest.state is not None
        assert (latest.id, latest.state.custom_state) == (result.checkpoint_id, state.custom_state)
        assert await state_store.get_staged_changes(unique) == []
        before.custom_state["l"] = [0, 1]
        before.messages.append({"role": "user"})
        again = await state_store.save_state_and_promote_staging(unique, before, step_id="s", commit_id="c")
        assert again == result
        assert before == state
        options: dict[str, Any] = {"step_id": "s", "commit_id": "plain"}
        plain = await state_store.save_state_and_promote_staging(unique, state, checkpoint=False, **options)
        assert plain == PromoteResult(version=3)
        assert await state_store.save_state_and_promote_staging(unique, state, checkpoint=False, **options) == plain
        with pytest.raises(InvalidArgumentError, match="other arguments"):
            await state_store.save_state_and_promote_staging(unique, state, **options)

    async def test_a_failing_save_and_promote(self, state_store: D1StateStore, unique: str) -> None:
        """ST-38: A stale state or a bad change leaves everything unchanged, also the caller's state."""
        state = await state_store.create_session(unique, agent_type="x", initial_state={"a": 1})
        await state_store.stage_changes(unique, "s", _patch("bad", {"op": "remove", "path": "/b"}))
        with pytest.raises(StagingError, match="bad"):
            await state_store.save_state_and_promote_staging(unique, state, step_id="s")
        await state_store.stage_changes(unique, "s", _merge("bad", a=2))
        await state_store.update_status(unique, "moved on")
        with pytest.raises(StaleStateError):
            await state_store.save_state_and_promote_staging(unique, state, step_id="s")
        assert (state.version, state.custom_state) == (1, {"a": 1})
        assert len(await state_store.get_staged_changes(unique, "s")) == 1
        assert await state_store.get_latest_checkpoint(unique) is None

    async def test_runs(self, state_store: D1StateStore, unique: str) -> None:
        """ST-39: Runs are numbered by turn. The current run is the latest that has not ended, also after a run was opened again."""
        await state_store.create_session(unique, agent_type="x")
        assert await state_store.get_current_run(unique) is None
        first = await state_store.start_run(unique, "r1", start_sequence=17, step_count=2)
        assert (first.turn, first.status, first.start_sequence, first.step_count) == (1, "running", 17, 2)
        assert await state_store.get_current_run(unique) == first
        second = await state_store.start_run(unique, "r2")
        assert await state_store.get_current_run(unique) == second
        ended = await state_store.update_run(unique, "r2", status="failed", error="it broke", step_count=5)
        assert ended.completed_at is not None
        assert (ended.status, ended.error, ended.step_count) == ("failed", "it broke", 5)
        assert await state_store.get_current_run(unique) == first
        await state_store.update_run(unique, "r1", status="completed", completed_at=123)
        assert await state_store.get_current_run(unique) is None
        assert [run.run_id for run in await state_store.list_runs(unique)] == ["r2", "r1"]
        assert [run.completed_at for run in await state_store.list_runs(unique, before_turn=2)] == [123]
        reopened = await state_store.update_run(unique, "r1", status="paused", error=None)
        assert reopened.completed_at is None
        assert await state_store.get_current_run(unique) == reopened
        with pytest.raises(RunNotFoundError):
            await state_store.update_run(unique, "r9", status="paused")
        with pytest.raises(StateNotFoundError):
            await state_store.start_run(f"{unique}-none", "r")
        assert (await state_store.load_state(unique, required=True)).version == 1
        with pytest.raises(ValueError, match="completed_at"):
            await state_store.update_run(unique, "r1", completed_at=5)

    async def test_the_gate_of_runs(self, state_store: D1StateStore, unique: str) -> None:
        """ST-39: A run starts only from the expected status and current run, and only with a new id. The write itself checks this."""
        await state_store.create_session(unique, agent_type="x")
        results = await asyncio.gather(
            *(state_store.start_run(unique, f"r{n}", expect_current_run_id=None) for n in range(10)),
            return_exceptions=True,
        )
        conflicts = [result for result in results if isinstance(result, RunConflictError)]
        assert len(conflicts) == 9
        current = await state_store.get_current_run(unique)
        assert current is not None
        assert {(conflict.reason, conflict.current_run_id) for conflict in conflicts} == {
            ("current_run", current.run_id)
        }
        with pytest.raises(RunConflictError) as raised:
            await state_store.start_run(unique, "s", expect_statuses=["paused"])
        assert (raised.value.reason, raised.value.status) == ("status", "active")
        with pytest.raises(RunConflictError) as raised:
            await state_store.start_run(unique, current.run_id)
        assert raised.value.reason == "run_id"
        follow = await state_store.start_run(
            unique, "s", expect_statuses=["active"], expect_current_run_id=current.run_id, commit_id="c"
        )
        assert follow.turn == 2
        assert await state_store.start_run(unique, "s", commit_id="c") == follow
        with pytest.raises(TypeError, match="expect_statuses"):
            await state_store.start_run(unique, "t", expect_statuses="active")

    async def test_references(self, state_store: D1StateStore, unique: str) -> None:
        """ST-40: References are added once each, changed in part, and listed in the order of their addition."""
        await state_store.create_session(unique, agent_type="x")
        refs = [
            SubSessionRef(sub_session_id="b", agent_type="y", parent_tool_call_id="call 1", started_at=5),
            SubSessionRef(sub_session_id="a", agent_type="z", location="remote", output={"n": 2**60}),
        ]
        await state_store.add_sub_session_refs(unique, refs)
        await state_store.add_sub_session_refs(
            unique, [{"subSessionId": "a", "agentType": "other"}, {"sub_session_id": "c", "agent_type": "w"}]
        )
        stored = await state_store.get_sub_session_refs(unique)
        assert [ref.sub_session_id for ref in stored] == ["b", "a", "c"]
        assert stored[0] == refs[0]
        assert (stored[1].agent_type, stored[1].output, stored[1].location) == ("z", {"n": 2**60}, "remote")
        await state_store.update_sub_session_ref(
            unique, "b", status="completed", completed_at=9, output=None, error="e"
        )
        await state_store.update_sub_session_ref(unique, "a", status="failed")
        after = await state_store.get_sub_session_refs(unique)
        assert (after[0].status, after[0].completed_at, after[0].output, after[0].error) == ("completed", 9, None, "e")
        assert (after[1].status, after[1].output) == ("failed", {"n": 2**60})
        with pytest.raises(SubSessionRefNotFoundError):
            await state_store.update_sub_session_ref(unique, "d", status="x")
        with pytest.raises(StateNotFoundError):
            await state_store.add_sub_session_refs(f"{unique}-none", refs)
        assert await state_store.get_sub_session_refs(f"{unique}-none") == []
        with pytest.raises(InvalidArgumentError, match="location"):
            await state_store.add_sub_session_refs(
                unique, [{"subSessionId": "e", "agentType": "x", "location": "moon"}]
            )

    async def test_remote_children(
        self,
        state_store: D1StateStore,
        unique: str,
        member: Callable[[str, str], str],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """ST-41: The deletion of a tree leaves a remote child alone and logs it. Staged changes, runs and references are deleted."""
        for name in ("root", "local", "remote"):
            parent = None if name == "root" else member(unique, "root")
            await state_store.create_session(member(unique, name), agent_type="x", parent_session_id=parent)
        root = member(unique, "root")
        remote = SubSessionRef(sub_session_id=member(unique, "remote"), agent_type="x", location="remote")
        await state_store.add_sub_session_refs(root, [remote])
        await state_store.stage_changes(root, "s", _merge("t"))
        await state_store.start_run(root, "r")
        tree = await state_store.get_session_tree(root)
        assert tree.session_ids == tree.stream_ids == (root, member(unique, "local"))
        assert tree.remote_sub_session_ids == (member(unique, "remote"),)
        with caplog.at_level(logging.INFO, logger="agents_store_cloudflare.state"):
            assert await state_store.delete_session(root)
        assert member(unique, "remote") in caplog.text
        assert [await state_store.exists(member(unique, name)) for name in ("root", "local", "remote")] == [
            False,
            False,
            True,
        ]
        await state_store.create_session(root, agent_type="x")
        assert await state_store.get_staged_changes(root) == []
        assert await state_store.list_runs(root) == []
        assert await state_store.get_sub_session_refs(root) == []
        assert (await state_store.start_run(root, "r")).turn == 1

    async def test_a_repeated_deletion(self, state_store: D1StateStore, unique: str) -> None:
        """ST-42: A deletion that is repeated with its commit id returns its first result, and leaves a newer session alone."""
        assert not await state_store.delete_session(unique, commit_id="nothing there")
        await state_store.create_session(unique, agent_type="x")
        assert not await state_store.delete_session(unique, commit_id="nothing there")
        assert await state_store.delete_session(unique, commit_id="d")
        await state_store.create_session(unique, agent_type="x")
        assert await state_store.delete_session(unique, commit_id="d")
        assert await state_store.exists(unique)

    async def test_resetting_the_fence(self, state_store: D1StateStore, unique: str) -> None:
        """ST-43: After an operator has reset the fence any token is accepted, and the highest is kept again."""
        await state_store.create_session(unique, agent_type="x", fencing_token=9)
        with pytest.raises(StaleFencingTokenError):
            await state_store.increment_step_count(unique, fencing_token=8)
        await state_store.reset_fence(unique)
        await state_store.reset_fence(f"{unique}-none")
        assert await state_store.increment_step_count(unique, fencing_token=3) == 1
        with pytest.raises(StaleFencingTokenError):
            await state_store.promote_staging(unique, "s", fencing_token=2)
