"""The conformance tests of turns for the readers of their streams, and for suspending and resuming."""

from __future__ import annotations

import pytest

from agents_store_cloudflare.contract.errors import TurnError
from agents_store_cloudflare.contract.state.records import AgentState
from agents_store_cloudflare.store import CloudflareStore
from agents_store_cloudflare.testing.conformance.fixtures import StoreFixtures
from agents_store_cloudflare.testing.conformance.turn_fixtures import (
    begin,
    chunks_of,
    die,
    runs_of,
)

__all__ = ["TurnStreamConformance"]


class TurnStreamConformance(StoreFixtures):
    """The contract of turns and their streams."""

    async def test_suspending_and_resuming(self, store: CloudflareStore, unique: str) -> None:
        """TU-3: A suspended turn pauses the stream. The next turn gets the context and goes on."""
        async with begin(store, unique) as turn:
            await turn.write({"type": "text", "text": "may I?"})
            await turn.suspend({"tool": "pay"})
            with pytest.raises(TurnError, match="over"):
                await turn.write({"type": "text", "text": "late"})
        info = await store.stream_manager.get_info(unique)
        assert info is not None
        assert info.status == "paused"
        async with begin(store, unique, messages=[{"role": "user", "content": "yes"}]) as resumed:
            assert resumed.resumed_from == {"tool": "pay"}
            await resumed.write({"type": "text", "text": "paid"})
        chunks = await chunks_of(store, unique)
        assert [chunk["type"] for chunk in chunks] == ["text", "turn-end", "text", "turn-end"]
        assert [status for _, status in await runs_of(store, unique)] == ["completed", "suspended"]
        assert (await store.state_store.load_state(unique, required=True)).status == "active"

    async def test_a_run_names_the_one_that_it_resumes(self, store: CloudflareStore, unique: str) -> None:
        """TU-3: The run of a resumed turn names the suspended run, also when a first attempt to resume has failed."""
        async with begin(store, unique, turn_id="t1") as turn:
            await turn.suspend({"n": 1})
        with pytest.raises(ZeroDivisionError):
            async with begin(store, unique, turn_id="t2"):
                raise ZeroDivisionError
        async with begin(store, unique, turn_id="t3") as resumed:
            assert (resumed.resumed_from, resumed.run.resumes, resumed.state.resume_count) == ({"n": 1}, "t1", 1)
        async with begin(store, unique, turn_id="t4") as turn:
            assert (turn.resumed_from, turn.run.resumes) == (None, None)
        runs = await store.state_store.list_runs(unique)
        assert [(run.run_id, run.status, run.resumes) for run in runs] == [
            ("t4", "completed", None),
            ("t3", "completed", "t1"),
            ("t2", "failed", "t1"),
            ("t1", "suspended", None),
        ]

    async def test_the_name_of_the_agent(self, store: CloudflareStore, unique: str) -> None:
        """TU-4: Chunks have the name of the agent: its type and the number of the turn, or the given name."""
        for agent_id in (None, None, "ada"):
            async with begin(store, unique, agent_id=agent_id) as turn:
                await turn.write({"type": "text", "text": "x"})
        chunks = await chunks_of(store, unique)
        assert [chunk["agentId"] for chunk in chunks] == ["a-1", "a-1", "a-2", "a-2", "ada", "ada"]

    async def test_a_stream_of_several_sessions(self, store: CloudflareStore, unique: str) -> None:
        """TU-4, TU-7: On a shared stream turns write without a token and never pause it. Each gets its closing chunk."""
        shared, sessions = f"{unique}-shared", [f"{unique}-{name}" for name in "ab"]
        for session_id in sessions:
            await store.state_store.save(AgentState(session_id=session_id, agent_type="a", stream_id=shared))
        for session_id, text in zip([*sessions, sessions[0], sessions[0], sessions[1]], "12345", strict=True):
            async with begin(store, session_id) as turn:
                assert turn.stream_id == shared
                await turn.write({"type": "text", "text": text})
                if text == "4":
                    await turn.suspend()
        info = await store.stream_manager.get_info(shared)
        assert info is not None
        assert info.status == "active"
        chunks = await chunks_of(store, shared)
        assert [chunk["text"] for chunk in chunks if chunk["type"] == "text"] == list("12345")
        assert [chunk["status"] for chunk in chunks if chunk["type"] == "turn-end"] == [
            *("completed", "completed", "completed", "suspended", "completed")
        ]

    async def test_following_one_turn(self, store: CloudflareStore, unique: str) -> None:
        """TU-4: A reader until a turn gets the chunks of the turn and stops at its closing chunk."""
        async with begin(store, unique) as turn:
            await turn.write({"type": "text", "text": "a"})
        async with begin(store, unique):
            pass
        manager = store.stream_manager
        for until in (turn.id, turn.attempt):
            async with manager.create_resumable_reader(unique, turn.from_sequence, until_turn=until) as reader:
                assert [chunk["type"] async for chunk in reader] == ["text", "turn-end"]

    async def test_following_one_attempt_of_a_turn(self, store: CloudflareStore, unique: str) -> None:
        """TU-4, SM-43: The closing chunk of an earlier attempt does not stop a reader until a later attempt."""
        manager = store.stream_manager
        dead = await die(store, unique, turn_id="t")
        async with begin(store, unique, turn_id="t") as turn:
            assert turn.attempt != dead.attempt
            reader = await manager.create_resumable_reader(unique, turn.from_sequence, until_turn=turn.attempt)
            await turn.write({"type": "text", "text": "again"})
        async with reader:
            assert [chunk["type"] async for chunk in reader] == ["text", "turn-end"]
            assert await anext(reader, None) is None
        async with manager.create_resumable_reader(unique, reader.sequence, until_turn=turn.attempt) as reader:
            assert [chunk async for chunk in reader] == []
        async with manager.create_resumable_reader(unique, dead.from_sequence, until_turn=dead.attempt) as reader:
            assert [chunk["type"] async for chunk in reader] == ["text", "turn-failed"]
