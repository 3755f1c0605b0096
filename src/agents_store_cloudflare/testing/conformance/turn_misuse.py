"""The conformance tests for wrong uses of turns. Each misuse gets a clear error and leaves nothing behind."""

from __future__ import annotations

from typing import Any

import pytest

from agents_store_cloudflare.contract.errors import (
    AgentsStoreError,
    BudgetExceededError,
    InvalidArgumentError,
    TurnError,
    UsageError,
)
from agents_store_cloudflare.store import CloudflareStore
from agents_store_cloudflare.testing.conformance.fixtures import StoreFixtures
from agents_store_cloudflare.testing.conformance.turn_fixtures import begin, chunks_of, enter, runs_of

__all__ = ["TurnMisuseConformance"]

WRONG: dict[str, dict[str, Any]] = {
    "a turn_id that is no text": {"turn_id": 7},
    "an empty turn_id": {"turn_id": ""},
    "a reserved turn_id": {"turn_id": "__proto__"},
    "a long turn_id": {"turn_id": "t" * 10_000},
    "an agent_type that is no text": {"agent_type": None},
    "an agent_id that is no text": {"agent_id": 3},
    "a message that is no object": {"messages": ["hello"]},
    "messages that are one object": {"messages": {"role": "user"}},
    "a message that is no JSON": {"messages": [{"role": "user", "content": object()}]},
    "a budget that is no pair": {"budget": "tenant"},
    "a budget without an amount": {"budget": ("tenant", 0)},
    "a budget with a broken amount": {"budget": ("tenant", 1.5)},
    "a wait that is no number": {"wait": "5"},
    "a negative wait": {"wait": -1},
    "a ttl that is no number": {"ttl": "30"},
    "no hold at all": {"max_hold": 0},
    "a hold of years": {"max_hold": 1e9},
    "a step_id that is no text": {"step_id": 1},
}


class TurnMisuseConformance(StoreFixtures):
    """The contract for wrong uses of `store.turn`."""

    @pytest.mark.parametrize("case", WRONG)
    async def test_wrong_arguments(self, store: CloudflareStore, unique: str, case: str) -> None:
        """TU-2: A wrong argument is refused by name before anything is sent."""
        with store.meter() as meter, pytest.raises((TypeError, InvalidArgumentError)) as refused:
            await enter(begin(store, unique, **WRONG[case]))
        assert next(iter(WRONG[case])).split("_")[0].rstrip("s") in str(refused.value).replace(
            "agent type", "agent_type"
        )
        assert (meter.d1.round_trips, meter.objects.calls) == (0, 0)

    async def test_a_turn_inside_a_turn(self, store: CloudflareStore, unique: str) -> None:
        """TU-1: An inner turn of the same session is refused at once, whatever its wait, and the outer turn goes on."""
        async with begin(store, unique) as turn:
            with pytest.raises(TurnError, match="around"):
                await enter(begin(store, unique, wait=5))
            async with begin(store, f"{unique}-other") as other:
                other.add({"role": "assistant", "content": "other"})
            turn.add({"role": "assistant", "content": "kept"})
        assert await runs_of(store, unique) == [(turn.id, "completed")]
        await _is_at_rest(store, unique)

    async def test_a_block_that_is_used_twice(self, store: CloudflareStore, unique: str) -> None:
        """TU-1: A block can be entered once."""
        block = begin(store, unique)
        async with block:
            pass
        with pytest.raises(TurnError, match="once"):
            await enter(block)
        await _is_at_rest(store, unique)

    @pytest.mark.parametrize("how", ["left", "suspended", "failed"])
    async def test_use_after_the_end(self, store: CloudflareStore, unique: str, how: str) -> None:
        """TU-1: After the end of a turn every use is refused by name, and changes nothing."""
        block = begin(store, unique)
        turn = await block.__aenter__()
        if how == "failed":
            await block.__aexit__(ValueError, ValueError(), None)
        elif how == "suspended":
            await turn.suspend({"tool": "pay"})
        else:
            await block.__aexit__(None, None, None)
        for use in (turn.write({"type": "text", "text": "late"}), turn.commit(), turn.suspend()):
            with pytest.raises(TurnError, match="over"):
                await use
        for late in (
            lambda: turn.add({"role": "user"}),
            lambda: turn.record_tokens(model="m", prompt=1),
            lambda: turn.finish("late"),
        ):
            with pytest.raises(TurnError, match="over"):
                late()
        if how == "suspended":
            await block.__aexit__(None, None, None)
        assert (await store.state_store.load_state(unique, required=True)).messages == []
        assert (await store.usage_store.get_rollup(unique)).entry_count == 0
        await _is_at_rest(store, unique, stream="paused" if how == "suspended" else "active")

    async def test_wrong_use_inside(self, store: CloudflareStore, unique: str) -> None:
        """TU-3: A refused call inside a turn does not change the turn."""
        async with begin(store, unique) as turn:
            with pytest.raises(TypeError, match="message 0"):
                turn.add("hello")  # type: ignore[arg-type]
            with pytest.raises((TypeError, InvalidArgumentError)):
                turn.add({"role": "assistant", "content": object()})
            with pytest.raises((TypeError, InvalidArgumentError)):
                await turn.write({"text": "no type"})
            with pytest.raises((TypeError, InvalidArgumentError)):
                turn.record_tokens(model="m", prompt=-1)
            with pytest.raises(InvalidArgumentError, match="session"):
                turn.record({**turn.record_custom(name="n", value=1).to_dict(), "sessionId": "x", "id": "x"})
            with pytest.raises((TypeError, InvalidArgumentError), match="spent"):
                turn.spent = -1
            with pytest.raises(InvalidArgumentError, match="output"):
                turn.finish("x" * 70_000)
            with pytest.raises((TypeError, InvalidArgumentError)):
                await turn.suspend(object())  # type: ignore[arg-type]
            turn.add({"role": "assistant", "content": "kept"})
        assert [message.get("content") for message in turn.messages] == ["kept"]
        assert [chunk["type"] for chunk in await chunks_of(store, unique)] == ["turn-end"]
        assert await runs_of(store, unique) == [(turn.id, "completed")]
        assert (await store.usage_store.get_rollup(unique)).entry_count == 1

    async def test_a_state_that_cannot_be_stored(self, store: CloudflareStore, unique: str) -> None:
        """TU-3, TU-5: The commit is refused, the turn fails, and the session is unchanged."""
        with pytest.raises((TypeError, InvalidArgumentError)):  # noqa: PT012 - the block is what is tested
            async with begin(store, unique, messages=[{"role": "user", "content": "q"}]) as turn:
                turn.record_tokens(model="m", prompt=1)
                turn.state.custom_state["bad"] = object()
        state = await store.state_store.load_state(unique, required=True)
        assert (len(state.messages), state.custom_state) == (1, {})
        assert [status for _, status in await runs_of(store, unique)] == ["failed"]
        assert (await store.usage_store.get_rollup(unique)).entry_count == 1
        await _is_at_rest(store, unique)

    async def test_no_stream(self, store: CloudflareStore, unique: str) -> None:
        """TU-4: A turn without a stream makes none, and refuses chunks."""
        async with begin(store, unique, stream=False) as turn:
            with pytest.raises(TurnError, match="stream=False"):
                await turn.write({"type": "text", "text": "x"})
        assert await store.stream_manager.get_info(unique) is None
        assert not await store.locks.is_locked(unique)

    async def test_another_agent_type(self, store: CloudflareStore, unique: str) -> None:
        """TU-2: A session of another agent type is refused and unchanged."""
        async with begin(store, unique):
            pass
        before = await store.state_store.load_state(unique, required=True)
        with pytest.raises(TurnError, match="agent type 'a', not 'b'"):
            await enter(begin(store, unique, agent_type="b", messages=[{"role": "user", "content": "q"}]))
        assert await store.state_store.load_state(unique, required=True) == before
        assert len(await runs_of(store, unique)) == 1
        await _is_at_rest(store, unique)

    async def test_a_budget_that_does_not_fit(self, store: CloudflareStore, unique: str) -> None:
        """TU-2: A refused turn leaves no run, no message, no reservation and no new session."""
        await store.usage_store.set_budget(unique, 10, "tokens")
        for budget, error in (((unique, 11), BudgetExceededError), ((f"{unique}-none", 1), UsageError)):
            with pytest.raises(error):
                await enter(begin(store, unique, budget=budget, messages=[{"role": "user", "content": "q"}]))
        assert not await store.state_store.exists(unique)
        assert await runs_of(store, unique) == []
        budget_left = await store.usage_store.get_budget(unique)
        assert budget_left is not None
        assert (budget_left.reserved, budget_left.settled) == (0, 0)
        assert not await store.locks.is_locked(unique)

    async def test_an_error_of_another_session_is_no_loss(self, store: CloudflareStore, unique: str) -> None:
        """TU-5: A stale token of another session ends the turn like any other exception."""
        other = f"{unique}-other"
        await store.state_store.create_session(other, agent_type="a")
        await store.state_store.update_status(other, "active", fencing_token=9)
        with pytest.raises(AgentsStoreError):
            async with begin(store, unique):
                await store.state_store.update_status(other, "failed", fencing_token=1)
        assert [status for _, status in await runs_of(store, unique)] == ["failed"]
        await _is_at_rest(store, unique)


async def _is_at_rest(store: CloudflareStore, session_id: str, *, stream: str = "active") -> None:
    """Check that nobody holds the lock, no run is open, the stream has its closing chunks, and the next turn can enter."""
    assert not await store.locks.is_locked(session_id)
    assert await store.state_store.get_current_run(session_id) is None
    info = await store.stream_manager.get_info(session_id)
    assert info is not None
    assert info.status == stream
    count = info.count
    await store.sweep_turns(1000)
    info = await store.stream_manager.get_info(session_id)
    assert info is not None
    assert info.count == count
    async with begin(store, session_id):
        pass
