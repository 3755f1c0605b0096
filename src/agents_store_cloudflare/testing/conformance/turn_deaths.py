"""The conformance tests of turns that end early: exceptions, cancellations, dead Workers, sweeps, attempts."""

from __future__ import annotations

import asyncio

import pytest

from agents_store_cloudflare.contract.errors import (
    LockLostError,
    StaleFencingTokenError,
    TurnEndedError,
    TurnRunningError,
)
from agents_store_cloudflare.contract.state.records import AgentState
from agents_store_cloudflare.store import CloudflareStore
from agents_store_cloudflare.testing.conformance.fixtures import StoreFixtures
from agents_store_cloudflare.testing.conformance.turn_fixtures import (
    begin,
    chunks_of,
    die,
    enter,
    runs_of,
)
from agents_store_cloudflare.turns import entering

__all__ = ["TurnDeathConformance"]


class TurnDeathConformance(StoreFixtures):
    """The contract of turns that end before their time."""

    async def test_an_exception_ends_the_turn(self, store: CloudflareStore, unique: str) -> None:
        """TU-5: After an exception the run is failed, readers get a code and no text, the lock is free, and the exception is raised."""
        block = begin(store, unique, turn_id="t")
        with pytest.raises(ZeroDivisionError, match="secret"):  # noqa: PT012 - the block is what is tested
            async with block as turn:
                await turn.write({"type": "text", "text": "half"})
                raise ZeroDivisionError("secret")
        chunks = await chunks_of(store, unique)
        assert [chunk["type"] for chunk in chunks] == ["text", "turn-failed"]
        assert chunks[-1]["code"] == "failed"
        assert "secret" not in str(chunks)
        assert await runs_of(store, unique) == [("t", "failed")]
        assert not await store.locks.is_locked(unique)

    async def test_a_cancelled_turn(self, store: CloudflareStore, unique: str) -> None:
        """TU-5: A cancellation ends the run as interrupted."""
        entered = asyncio.Event()

        async def work() -> None:
            async with begin(store, unique):
                entered.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await asyncio.wait_for(entered.wait(), 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [status for _, status in await runs_of(store, unique)] == ["interrupted"]
        assert [(chunk["type"], chunk["code"]) for chunk in await chunks_of(store, unique)] == [
            ("turn-failed", "interrupted")
        ]

    async def test_each_dead_attempt_is_told(self, store: CloudflareStore, unique: str) -> None:
        """TU-6, TU-8: Readers get a closing chunk for each dead attempt of a turn id, also for one without other chunks."""
        await die(store, unique, turn_id="t")
        await die(store, unique, turn_id="t", at_once=True)
        await enter(begin(store, unique, turn_id="other"), leave=True)
        closings = [chunk for chunk in await chunks_of(store, unique) if chunk["type"].startswith("turn-")]
        assert [(chunk["turn"], chunk["turnId"], chunk["status"]) for chunk in closings] == [
            (1, "t", "interrupted"),
            (2, "t", "interrupted"),
            (3, "other", "completed"),
        ]

    async def test_the_next_turn_closes_a_dead_one(self, store: CloudflareStore, unique: str) -> None:
        """TU-6, TU-7: The next turn closes a dead turn and tells its readers once. The dead turn's holder changes nothing more."""
        dead = await die(store, unique)
        async with begin(store, unique) as turn:
            await turn.write({"type": "text", "text": "next"})
            dead.add({"role": "assistant", "content": "late"})
            with pytest.raises((StaleFencingTokenError, LockLostError)):
                await dead.commit()
        assert [status for _, status in await runs_of(store, unique)] == ["completed", "interrupted"]
        assert [chunk["type"] for chunk in await chunks_of(store, unique)] == [
            "text",
            "turn-failed",
            "text",
            "turn-end",
        ]
        assert turn.from_sequence == 2
        assert (await store.state_store.load_state(unique, required=True)).messages == []

    async def test_the_sweep_closes_a_dead_turn(self, store: CloudflareStore, unique: str) -> None:
        """TU-6: The sweep closes a dead turn once, and leaves a running turn alone."""
        await die(store, unique)
        async with begin(store, f"{unique}-running") as running:
            assert unique in (await store.sweep_turns(1000)).closed
            assert unique not in (await store.sweep_turns(1000)).closed
            assert running.run.status == "running"
        assert await runs_of(store, f"{unique}-running") == [(running.id, "completed")]
        assert [status for _, status in await runs_of(store, unique)] == ["interrupted"]
        assert [chunk["type"] for chunk in await chunks_of(store, unique)] == ["text", "turn-failed"]

    @pytest.mark.parametrize("by", ["end", "reset", "deletion"])
    async def test_what_is_owed_to_a_stream_that_is_gone(self, store: CloudflareStore, unique: str, by: str) -> None:
        """TU-4: A stream that was ended, reset or deleted meanwhile gets no closing chunk."""
        await die(store, unique)
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
        """TU-4: A stream that others have paused still gets its closing chunk, and stays paused."""
        await die(store, unique)
        await store.stream_manager.pause_stream(unique)
        await store.sweep_turns(1000)
        info = await store.stream_manager.get_info(unique)
        assert info is not None
        assert (info.status, info.count) == ("paused", 2)

    async def test_a_turn_id_succeeds_once(self, store: CloudflareStore, unique: str) -> None:
        """TU-8: A turn id that has succeeded is refused with its outcome. A failed id starts again, and its messages are stored once."""
        question = [{"role": "user", "content": "q"}]
        with pytest.raises(ZeroDivisionError):
            async with begin(store, unique, turn_id="t", messages=question):
                raise ZeroDivisionError
        async with begin(store, unique, turn_id="t", messages=question) as turn:
            assert [message.get("content") for message in turn.messages] == ["q"]
            with pytest.raises(TurnRunningError) as running:
                await asyncio.create_task(enter(begin(store, unique, turn_id="t")))
            assert running.value.stream_id == unique
            turn.finish("done")
        with pytest.raises(TurnEndedError) as ended:
            await enter(begin(store, unique, turn_id="t", messages=question))
        assert (ended.value.status, ended.value.output) == ("completed", "done")
        assert [status for _, status in await runs_of(store, unique)] == ["completed", "failed"]
        assert not await store.locks.is_locked(unique)

    async def test_a_death_on_a_stream_of_several_sessions(self, store: CloudflareStore, unique: str) -> None:
        """TU-6: The readers of a shared stream hear of a turn whose Worker died before its first commit."""
        shared = f"{unique}-shared"
        await store.state_store.save(AgentState(session_id=unique, agent_type="a", stream_id=shared))
        await die(store, unique, at_once=True)
        await store.sweep_turns(1000)
        assert [chunk["type"] for chunk in await chunks_of(store, shared)] == ["turn-failed"]

    async def test_a_sweep_is_waited_for(
        self, store: CloudflareStore, unique: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """TU-1, TU-6: A turn that does not wait for other turns still waits for a sweep, also while the sweep closes a dead turn."""
        monkeypatch.setattr(entering, "SWEEPER_WAIT_MS", 60_000)  # so a slow machine cannot end the wait early
        await die(store, unique, turn_id="dead")
        sweep = await store.locks.acquire(unique)
        assert sweep is not None
        with store.meter() as meter:
            turns = [asyncio.create_task(enter(begin(store, unique, turn_id="dead"), leave=True))]
            for _ in range(1000):
                if meter.objects.calls >= 2:  # the lock was refused, and the call has asked for its holder
                    break
                await asyncio.sleep(0.01)
        await sweep.release()
        await asyncio.gather(*turns)
        assert [status for _, status in await runs_of(store, unique)] == ["completed", "interrupted"]
