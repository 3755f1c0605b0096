"""What a turn promises, clause by clause. Subclass `TurnConformance` and give it a `store`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agents_store_cloudflare.contract.errors import (
    BudgetExceededError,
    LockLostError,
    LockNotAcquiredError,
    StaleFencingTokenError,
    StaleStateError,
    StateNotFoundError,
    TurnEndedError,
    TurnError,
    TurnRunningError,
)
from agents_store_cloudflare.contract.state.records import MergeChanges, StagedChange
from agents_store_cloudflare.store import CloudflareStore
from agents_store_cloudflare.testing.conformance.fixtures import StoreFixtures
from agents_store_cloudflare.turns import Turn, TurnBlock

__all__ = ["TurnConformance"]


class TurnConformance(StoreFixtures):
    """The contract of `store.turn`."""

    async def test_a_whole_turn(self, store: CloudflareStore, unique: str) -> None:
        """TU-3, TU-4: messages, state, checkpoint, usage, run and closing chunk of one turn agree."""
        async with _turn(store, unique, messages=[{"role": "user", "content": "hi"}]) as turn:
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
        chunks = await _chunks(store, unique)
        assert [chunk["type"] for chunk in chunks] == ["text", "turn-end"]
        assert (chunks[-1]["turnId"], chunks[-1]["status"]) == (turn.id, "completed")
        assert not await store.locks.is_locked(unique)

    async def test_one_turn_at_a_time(self, store: CloudflareStore, unique: str) -> None:
        """TU-1: a second turn is refused while the first one runs, and comes in when it waits."""
        async with _turn(store, unique):
            with pytest.raises(LockNotAcquiredError):
                await asyncio.create_task(_enter(_turn(store, unique)))
            waiting = asyncio.create_task(_enter(_turn(store, unique, wait=20), leave=True))
        await waiting
        assert [status for _, status in await _runs(store, unique)] == ["completed", "completed"]

    async def test_an_entry_that_fails_leaves_nothing(self, store: CloudflareStore, unique: str) -> None:
        """TU-2: a refused entry stores nothing, and the lock is free."""
        with pytest.raises(StateNotFoundError):
            await _enter(_turn(store, unique, create=False))
        assert not await store.state_store.exists(unique)
        await store.usage_store.set_budget(unique, 10, "tokens")
        with pytest.raises(BudgetExceededError):
            await _enter(_turn(store, unique, budget=(unique, 11), messages=[{"role": "user"}]))
        assert not await store.state_store.exists(unique)
        await store.state_store.create_session(unique, agent_type="other")
        with pytest.raises(TurnError, match="agent type"):
            await _enter(_turn(store, unique))
        assert await _runs(store, unique) == []
        assert not await store.locks.is_locked(unique)

    async def test_a_budget_is_settled_once(self, store: CloudflareStore, unique: str) -> None:
        """TU-3: the reservation is settled with what the turn has spent, in the batch that ends it."""
        await store.usage_store.set_budget(unique, 100, "tokens")
        async with _turn(store, unique, budget=(unique, 60)) as turn:
            turn.record_tokens(model="m", prompt=10, completion=5)
            held = await store.usage_store.get_budget(unique)
            assert held is not None
            assert (held.reserved, held.settled) == (60, 0)
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the block is what is tested
            async with _turn(store, unique, budget=(unique, 60)) as turn:
                turn.record_tokens(model="m", prompt=1)
                raise ZeroDivisionError
        budget = await store.usage_store.get_budget(unique)
        assert budget is not None
        assert (budget.reserved, budget.settled) == (0, 16)
        assert (await store.usage_store.get_rollup(unique)).tokens.total == 16

    async def test_the_usage_of_a_turn(self, store: CloudflareStore, unique: str) -> None:
        """TU-3: what a turn records is of its run, which is asked for by the turn's id; entries of each kind."""
        for turn_id in ("t1", "t2"):
            async with _turn(store, unique, turn_id=turn_id) as turn:
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
        """TU-3: the step's staged changes are in the custom state with the commit."""
        await store.state_store.create_session(unique, agent_type="a")
        change = StagedChange(tool_call_id="t", patches=[], merge_changes=MergeChanges(values={"found": 2}))
        await store.state_store.stage_changes(unique, "step", change)
        async with _turn(store, unique, step_id="step") as turn:
            turn.state.custom_state["n"] = 1
        state = await store.state_store.load_state(unique, required=True)
        assert state.custom_state == {"n": 1, "found": 2}
        assert await store.state_store.get_staged_changes(unique) == []

    async def test_others_write_beside_a_turn(self, store: CloudflareStore, unique: str) -> None:
        """TU-3: what others have written meanwhile stays; a field that both have changed refuses the commit."""
        async with _turn(store, unique) as turn:
            turn.add({"role": "assistant", "content": "mine"})
            turn.state.custom_state["mine"] = 1
            await store.state_store.append_messages(unique, [{"role": "user", "content": "theirs"}])
            await store.state_store.merge_custom_state(unique, {"theirs": 2})
        state = await store.state_store.load_state(unique, required=True)
        assert [message.get("content") for message in state.messages] == ["theirs", "mine"]
        assert state.custom_state == {"mine": 1, "theirs": 2}
        with pytest.raises(StaleStateError):  # noqa: PT012 - the block is what is tested
            async with _turn(store, unique) as turn:
                turn.state.custom_state["mine"] = 3
                await store.state_store.merge_custom_state(unique, {"mine": 4})
        assert [status for _, status in await _runs(store, unique)] == ["failed", "completed"]

    async def test_commits_within_a_turn(self, store: CloudflareStore, unique: str) -> None:
        """TU-3: each commit is kept, also when the turn fails afterwards."""
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the block is what is tested
            async with _turn(store, unique) as turn:
                turn.add({"role": "assistant", "content": "kept"})
                await turn.commit()
                turn.add({"role": "assistant", "content": "gone"})
                raise ZeroDivisionError
        state = await store.state_store.load_state(unique, required=True)
        assert [message.get("content") for message in state.messages] == ["kept"]

    async def test_an_exception_ends_the_turn(self, store: CloudflareStore, unique: str) -> None:
        """TU-5: the run fails, readers are told a code and no text, the lock is free, the exception goes on."""
        block = _turn(store, unique, turn_id="t")
        with pytest.raises(ZeroDivisionError, match="secret"):  # noqa: PT012 - the block is what is tested
            async with block as turn:
                await turn.write({"type": "text", "text": "half"})
                raise ZeroDivisionError("secret")
        chunks = await _chunks(store, unique)
        assert [chunk["type"] for chunk in chunks] == ["text", "turn-failed"]
        assert chunks[-1]["code"] == "failed"
        assert "secret" not in str(chunks)
        assert await _runs(store, unique) == [("t", "failed")]
        assert not await store.locks.is_locked(unique)

    async def test_a_cancelled_turn(self, store: CloudflareStore, unique: str) -> None:
        """TU-5: a cancellation ends the run as interrupted."""
        entered = asyncio.Event()

        async def work() -> None:
            async with _turn(store, unique):
                entered.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [status for _, status in await _runs(store, unique)] == ["interrupted"]
        assert [(chunk["type"], chunk["code"]) for chunk in await _chunks(store, unique)] == [
            ("turn-failed", "interrupted")
        ]

    async def test_the_next_turn_closes_a_dead_one(self, store: CloudflareStore, unique: str) -> None:
        """TU-6, TU-7: the next turn marks a dead one, tells its readers once, and the dead one's holder changes nothing more."""
        dead = await _die(store, unique)
        async with _turn(store, unique) as turn:
            await turn.write({"type": "text", "text": "next"})
            dead.add({"role": "assistant", "content": "late"})
            with pytest.raises((StaleFencingTokenError, LockLostError)):
                await dead.commit()
        assert [status for _, status in await _runs(store, unique)] == ["completed", "interrupted"]
        assert [chunk["type"] for chunk in await _chunks(store, unique)] == ["text", "turn-failed", "text", "turn-end"]
        assert turn.from_sequence == 2
        assert (await store.state_store.load_state(unique, required=True)).messages == []

    async def test_the_sweep_closes_a_dead_turn(self, store: CloudflareStore, unique: str) -> None:
        """TU-6: the sweep closes a dead turn once, and leaves alone a turn that runs."""
        await _die(store, unique)
        async with _turn(store, f"{unique}-running") as running:
            assert unique in (await store.sweep_turns(1000)).closed
            assert unique not in (await store.sweep_turns(1000)).closed
            assert running.run.status == "running"
        assert await _runs(store, f"{unique}-running") == [(running.id, "completed")]
        assert [status for _, status in await _runs(store, unique)] == ["interrupted"]
        assert [chunk["type"] for chunk in await _chunks(store, unique)] == ["text", "turn-failed"]

    @pytest.mark.parametrize("by", ["end", "reset", "deletion"])
    async def test_what_is_owed_to_a_stream_that_is_gone(self, store: CloudflareStore, unique: str, by: str) -> None:
        """TU-4: where the stream was ended, reset or deleted meanwhile, no closing chunk follows."""
        await _die(store, unique)
        if by == "end":
            await store.stream_manager.end_stream(unique)
        elif by == "reset":
            await store.stream_manager.reset_stream(unique)
        else:
            await store.stream_manager.delete_stream(unique)
        await store.sweep_turns(1000)
        info = await store.stream_manager.get_info(unique)
        assert info is None or info.count == (1 if by == "end" else 0)
        assert unique not in (await store.sweep_turns(1000)).closed

    async def test_a_closing_chunk_passes_a_pause(self, store: CloudflareStore, unique: str) -> None:
        """TU-4: a stream that others have paused gets its closing chunk all the same, and stays paused."""
        await _die(store, unique)
        await store.stream_manager.pause_stream(unique)
        await store.sweep_turns(1000)
        info = await store.stream_manager.get_info(unique)
        assert info is not None
        assert (info.status, info.count) == ("paused", 2)

    async def test_a_turn_id_succeeds_once(self, store: CloudflareStore, unique: str) -> None:
        """TU-8: an id that has succeeded is refused with its outcome; one that has failed starts again, its messages once."""
        question = [{"role": "user", "content": "q"}]
        with pytest.raises(ZeroDivisionError):
            async with _turn(store, unique, turn_id="t", messages=question):
                raise ZeroDivisionError
        async with _turn(store, unique, turn_id="t", messages=question) as turn:
            assert [message.get("content") for message in turn.messages] == ["q"]
            with pytest.raises(TurnRunningError) as running:
                await asyncio.create_task(_enter(_turn(store, unique, turn_id="t")))
            assert running.value.stream_id == unique
            turn.finish("done")
        with pytest.raises(TurnEndedError) as ended:
            await _enter(_turn(store, unique, turn_id="t", messages=question))
        assert (ended.value.status, ended.value.output) == ("completed", "done")
        assert [status for _, status in await _runs(store, unique)] == ["completed", "failed"]
        assert not await store.locks.is_locked(unique)

    async def test_suspending_and_resuming(self, store: CloudflareStore, unique: str) -> None:
        """TU-3: a suspended turn pauses the stream; the next turn finds the context and goes on."""
        async with _turn(store, unique) as turn:
            await turn.write({"type": "text", "text": "may I?"})
            await turn.suspend({"tool": "pay"})
            with pytest.raises(TurnError, match="over"):
                await turn.write({"type": "text", "text": "late"})
        info = await store.stream_manager.get_info(unique)
        assert info is not None
        assert info.status == "paused"
        async with _turn(store, unique, messages=[{"role": "user", "content": "yes"}]) as resumed:
            assert resumed.resumed_from == {"tool": "pay"}
            await resumed.write({"type": "text", "text": "paid"})
        chunks = await _chunks(store, unique)
        assert [chunk["type"] for chunk in chunks] == ["text", "turn-end", "text", "turn-end"]
        assert [status for _, status in await _runs(store, unique)] == ["completed", "suspended"]
        assert (await store.state_store.load_state(unique, required=True)).status == "active"

    async def test_following_one_turn(self, store: CloudflareStore, unique: str) -> None:
        """TU-4: a reader until a turn gets its chunks and stops at its closing chunk."""
        async with _turn(store, unique) as turn:
            await turn.write({"type": "text", "text": "a"})
        async with _turn(store, unique):
            pass
        manager = store.stream_manager
        async with manager.create_resumable_reader(unique, turn.from_sequence, until_turn=turn.id) as reader:
            assert [chunk["type"] async for chunk in reader] == ["text", "turn-end"]

    async def test_misuse(self, store: CloudflareStore, unique: str) -> None:
        """TU-1: a turn inside a turn, and a use after the block, are refused by name."""
        async with _turn(store, unique) as turn:
            with pytest.raises(TurnError, match="around"):
                await _enter(_turn(store, unique, wait=5))
        with pytest.raises(TurnError, match="over"):
            turn.add({"role": "user"})

    async def test_batches_of_a_turn(self, store: CloudflareStore, unique: str) -> None:
        """TU-9: a turn takes two batches of D1, and no more than five waits in a row."""
        async with _turn(store, unique):
            pass
        with store.meter() as meter:
            async with _turn(store, unique, messages=[{"role": "user"}]) as turn:
                await turn.write({"type": "text", "text": "x"})
                turn.add({"role": "assistant"})
        assert meter.d1.round_trips == 2


def _turn(store: CloudflareStore, session_id: str, **arguments: Any) -> TurnBlock:
    return store.turn(session_id, agent_type="a", **arguments)


async def _enter(block: TurnBlock, *, leave: bool = False) -> None:
    turn = await block.__aenter__()
    assert turn.number
    if leave:
        await block.__aexit__(None, None, None)


async def _die(store: CloudflareStore, session_id: str) -> Turn:
    """A turn whose Worker died after a flushed chunk: its lock is over, nothing was ended."""

    async def live() -> Turn:
        block = _turn(store, session_id, auto_refresh=False)
        turn = await block.__aenter__()
        await turn.write({"type": "text", "text": "half"})
        await turn.commit()
        return turn

    turn = await asyncio.create_task(live())
    await turn.lock.release()  # as a ttl that has run out
    return turn


async def _runs(store: CloudflareStore, session_id: str) -> list[tuple[str, str]]:
    return [(run.run_id, run.status) for run in await store.state_store.list_runs(session_id)]


async def _chunks(store: CloudflareStore, session_id: str) -> list[Any]:
    info = await store.stream_manager.get_info(session_id)
    if info is not None and info.status == "active":
        await store.stream_manager.end_stream(session_id)
    async with store.stream_manager.create_reader(session_id) as reader:
        return [chunk async for chunk in reader]
