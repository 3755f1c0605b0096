"""The conformance tests of turns. Subclass `TurnConformance`, and give it a `store`."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from agents_store_cloudflare.contract.errors import (
    BudgetExceededError,
    LockNotAcquiredError,
    StaleStateError,
    StateNotFoundError,
    TurnError,
)
from agents_store_cloudflare.contract.state.records import MergeChanges, StagedChange
from agents_store_cloudflare.store import CloudflareStore
from agents_store_cloudflare.testing.conformance.turn_budgets import TurnBudgetConformance
from agents_store_cloudflare.testing.conformance.turn_deaths import TurnDeathConformance
from agents_store_cloudflare.testing.conformance.turn_fixtures import (
    begin,
    chunks_of,
    enter,
    runs_of,
)
from agents_store_cloudflare.testing.conformance.turn_misuse import TurnMisuseConformance
from agents_store_cloudflare.testing.conformance.turn_streams import TurnStreamConformance

__all__ = ["TurnConformance"]


class TurnConformance(TurnBudgetConformance, TurnDeathConformance, TurnStreamConformance, TurnMisuseConformance):
    """The contract of `store.turn`."""

    async def test_a_whole_turn(self, store: CloudflareStore, unique: str) -> None:
        """TU-3, TU-4: Messages, state, checkpoint, usage, run and closing chunk of one turn agree."""
        async with begin(store, unique, messages=[{"role": "user", "content": "hi"}]) as turn:
            await turn.write({"type": "text", "text": "hello"})
            turn.add({"role": "assistant", "content": "hello"})
            turn.state.custom_state["n"] = 1
            turn.record_tokens(model="m", prompt=3, completion=4)
            turn.finish({"answer": 42})
        state = await store.state_store.load_state(unique, required=True)
        assert [message.get("role") for message in state.messages] == ["user", "assistant"]
        assert (state.custom_state, state.output) == ({"n": 1}, {"answer": 42})
        checkpoint = await store.state_store.get_latest_checkpoint(unique)
        assert checkpoint is not None
        assert (checkpoint.message_count, checkpoint.run_id, checkpoint.stream_sequence) == (2, turn.id, 1)
        rollup = await store.usage_store.get_rollup(unique)
        assert rollup.tokens.total == 7
        [run] = await store.state_store.list_runs(unique)
        assert (run.run_id, run.status, run.output) == (turn.id, "completed", {"answer": 42})
        assert (run.start_sequence, run.end_sequence) == (0, 1)
        chunks = await chunks_of(store, unique)
        assert [chunk["type"] for chunk in chunks] == ["text", "turn-end"]
        assert (chunks[-1]["turnId"], chunks[-1]["status"]) == (turn.id, "completed")
        assert not await store.locks.is_locked(unique)

    async def test_one_turn_at_a_time(self, store: CloudflareStore, unique: str) -> None:
        """TU-1: A second turn is refused while the first runs. With a wait it enters after the first."""
        async with begin(store, unique):
            with pytest.raises(LockNotAcquiredError):
                await asyncio.create_task(enter(begin(store, unique)))
            waiting = asyncio.create_task(enter(begin(store, unique, wait=20), leave=True))
        await waiting
        assert [status for _, status in await runs_of(store, unique)] == ["completed", "completed"]

    async def test_an_entry_that_fails_leaves_nothing(self, store: CloudflareStore, unique: str) -> None:
        """TU-2: A refused turn stores nothing, and the lock is free."""
        with pytest.raises(StateNotFoundError):
            await enter(begin(store, unique, create=False))
        assert not await store.state_store.exists(unique)
        await store.usage_store.set_budget(unique, 10, "tokens")
        with pytest.raises(BudgetExceededError):
            await enter(begin(store, unique, budget=(unique, 11), messages=[{"role": "user"}]))
        assert not await store.state_store.exists(unique)
        await store.state_store.create_session(unique, agent_type="other")
        with pytest.raises(TurnError, match="agent type"):
            await enter(begin(store, unique))
        assert await runs_of(store, unique) == []
        assert not await store.locks.is_locked(unique)

    async def test_a_budget_is_settled_once(self, store: CloudflareStore, unique: str) -> None:
        """TU-3: The batch that ends the turn settles the reservation with the spent amount."""
        await store.usage_store.set_budget(unique, 100, "tokens")
        async with begin(store, unique, budget=(unique, 60)) as turn:
            turn.record_tokens(model="m", prompt=10, completion=5)
            held = await store.usage_store.get_budget(unique)
            assert held is not None
            assert (held.reserved, held.settled) == (60, 0)
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the block is what is tested
            async with begin(store, unique, budget=(unique, 60)) as turn:
                turn.record_tokens(model="m", prompt=1)
                raise ZeroDivisionError
        budget = await store.usage_store.get_budget(unique)
        assert budget is not None
        assert (budget.reserved, budget.settled) == (0, 16)
        assert (await store.usage_store.get_rollup(unique)).tokens.total == 16

    async def test_usage_while_a_turn_ends(self, store: CloudflareStore, unique: str) -> None:
        """TU-3: Usage that another task records during the last commit is stored or refused."""
        block = begin(store, unique)
        turn = await block.__aenter__()
        ending = asyncio.create_task(block.__aexit__(None, None, None))
        accepted, refused = 0, 0
        while not ending.done():
            try:
                turn.record_tokens(model="m", prompt=1)
                accepted += 1
            except TurnError:
                refused += 1
            await asyncio.sleep(0)  # lets the ending go on when a read does not wait
            await store.state_store.exists(unique)  # in a Worker the replies of the ending arrive while this read waits
        await ending
        assert refused > 0
        assert (await store.usage_store.get_rollup(unique)).tokens.total == accepted

    @pytest.mark.parametrize("then", ["gone", "made anew"])
    @pytest.mark.parametrize("ends_by", ["its end", "an exception"])
    async def test_a_session_that_goes_during_a_turn(
        self, store: CloudflareStore, unique: str, then: str, ends_by: str
    ) -> None:
        """TU-3: If others delete the session, the end of the turn settles the reservation and stores nothing else."""
        await store.usage_store.set_budget(unique, 100, "tokens")
        gone = StateNotFoundError if then == "gone" else StaleStateError
        with pytest.raises(gone if ends_by == "its end" else ZeroDivisionError):  # noqa: PT012 - the block is what is tested
            async with begin(store, unique, budget=(unique, 60)) as turn:
                turn.record_tokens(model="m", prompt=7)
                await store.delete_session(unique)
                if then == "made anew":
                    await store.state_store.create_session(unique, agent_type="a")
                if ends_by == "an exception":
                    raise ZeroDivisionError
        budget = await store.usage_store.get_budget(unique)
        assert budget is not None
        assert (budget.reserved, budget.settled) == (0, 7)
        assert await store.usage_store.get_entry_count(unique) == 0
        assert await store.state_store.exists(unique) == (then == "made anew")
        assert not await store.locks.is_locked(unique)

    async def test_the_usage_of_a_turn(self, store: CloudflareStore, unique: str) -> None:
        """TU-3: The recorded entries of each kind belong to the turn's run, and the turn's id finds them."""
        for turn_id in ("t1", "t2"):
            async with begin(store, unique, turn_id=turn_id) as turn:
                turn.record_tokens(model="m", prompt=turn.number, completion=4, cached=1)
                turn.record_tool(tool_name="search", duration_ms=3, success=False, error="gone")
                turn.record_subagent(agent_type="critic", sub_session_id="sub", duration_ms=7, success=True)
                turn.record_custom(name="pages", value=turn.number)
        rollup = await store.usage_store.get_rollup(unique, run_id="t2")
        assert (rollup.tokens.prompt, rollup.tokens.cached, rollup.entry_count) == (2, 1, 4)
        assert (rollup.tool_stats.failed, rollup.sub_agent_stats.by_agent) == (1, {"critic": 1})
        assert rollup.custom == {"pages": {"count": 1, "total": 2}}
        assert (await store.usage_store.get_rollup(unique)).entry_count == 8

    async def test_staged_changes_are_promoted(self, store: CloudflareStore, unique: str) -> None:
        """TU-3: A commit promotes the step's staged changes into the custom state."""
        await store.state_store.create_session(unique, agent_type="a")
        change = StagedChange(tool_call_id="t", patches=[], merge_changes=MergeChanges(values={"found": 2}))
        await store.state_store.stage_changes(unique, "step", change)
        async with begin(store, unique, step_id="step") as turn:
            turn.state.custom_state["n"] = 1
        state = await store.state_store.load_state(unique, required=True)
        assert state.custom_state == {"n": 1, "found": 2}
        assert await store.state_store.get_staged_changes(unique) == []

    async def test_others_write_beside_a_turn(self, store: CloudflareStore, unique: str) -> None:
        """TU-3: Changes that others stored meanwhile stay. A commit is refused if both have changed the same field."""
        async with begin(store, unique) as turn:
            turn.add({"role": "assistant", "content": "mine"})
            turn.state.custom_state["mine"] = 1
            await store.state_store.append_messages(unique, [{"role": "user", "content": "theirs"}])
            await store.state_store.merge_custom_state(unique, {"theirs": 2})
        state = await store.state_store.load_state(unique, required=True)
        assert [message.get("content") for message in state.messages] == ["theirs", "mine"]
        assert state.custom_state == {"mine": 1, "theirs": 2}
        with pytest.raises(StaleStateError):  # noqa: PT012 - the block is what is tested
            async with begin(store, unique) as turn:
                turn.state.custom_state["mine"] = 3
                await store.state_store.merge_custom_state(unique, {"mine": 4})
        assert [status for _, status in await runs_of(store, unique)] == ["failed", "completed"]

    async def test_commits_within_a_turn(self, store: CloudflareStore, unique: str) -> None:
        """TU-3: Each commit is kept, also when the turn fails afterwards."""
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the block is what is tested
            async with begin(store, unique) as turn:
                turn.add({"role": "assistant", "content": "kept"})
                await turn.commit()
                turn.add({"role": "assistant", "content": "gone"})
                raise ZeroDivisionError
        state = await store.state_store.load_state(unique, required=True)
        assert [message.get("content") for message in state.messages] == ["kept"]

    async def test_the_run_in_the_block_is_the_stored_one(self, store: CloudflareStore, unique: str) -> None:
        """TU-3: The number, the start and the position of the run in the block equal the stored ones."""
        async with begin(store, unique):
            pass
        async with begin(store, unique) as turn:
            await turn.commit()
            [stored, _] = await store.state_store.list_runs(unique)
            assert turn.run == replace(stored, end_sequence=None)

    async def test_batches_of_a_turn(self, store: CloudflareStore, unique: str) -> None:
        """TU-9: A turn takes two batches of D1, and at most five waits one after the other."""
        async with begin(store, unique):
            pass
        with store.meter() as meter:
            async with begin(store, unique, messages=[{"role": "user"}]) as turn:
                await turn.write({"type": "text", "text": "x"})
                turn.add({"role": "assistant"})
        assert meter.d1.round_trips == 2
