"""A stop from another tab: it reaches the turn that it names, and no other."""

import pytest

from agents_store_cloudflare.adapters.ui import request_stop, stop_requested
from agents_store_cloudflare.contract.errors import InvalidArgumentError, StateNotFoundError
from tests.instruments.turn_world import TurnWorld

SESSION = "chat"


async def test_a_stop_reaches_its_turn() -> None:
    """UI-6: after the next commit, whatever the turn has stored before and changes besides."""
    world = await TurnWorld.open()
    async with world.mine.turn(SESSION, agent_type="x", turn_id="one", messages=[{"role": "user"}]) as turn:
        assert not await stop_requested(turn)
        await request_stop(world.theirs.state_store, SESSION, "one")
        turn.state.custom_state["half"] = "an answer"
        turn.add({"role": "assistant"})
        assert await stop_requested(turn)
        assert await stop_requested(turn)
        turn.finish(status="aborted")
    state = await world.theirs.state_store.load_state(SESSION, required=True)
    assert (state.status, state.custom_state, len(state.messages)) == ("aborted", {"half": "an answer"}, 2)
    assert [run.status for run in await world.theirs.state_store.list_runs(SESSION)] == ["aborted"]
    world.close()


async def test_a_stop_that_comes_late_stops_no_other_turn() -> None:
    """UI-6: it names a turn that has ended."""
    world = await TurnWorld.open()
    async with world.mine.turn(SESSION, agent_type="x", turn_id="one"):
        pass
    await request_stop(world.theirs.state_store, SESSION, "one")
    async with world.mine.turn(SESSION, agent_type="x", turn_id="two") as turn:
        assert not await stop_requested(turn)
        await request_stop(world.theirs.state_store, SESSION, "one")
        assert not await stop_requested(turn)
        await request_stop(world.theirs.state_store, SESSION, "two")
        assert await stop_requested(turn)
    world.close()


async def test_a_late_stop_of_another_turn_hides_no_stop() -> None:
    """UI-6: Stops of turns that have ended arrive after the stop of the running turn, and it still hears of its own."""
    world = await TurnWorld.open()
    async with world.mine.turn(SESSION, agent_type="t", turn_id="two", wait=2) as turn:
        await request_stop(world.theirs.state_store, SESSION, "two")
        for late in ("one", "zero", "one"):
            await request_stop(world.theirs.state_store, SESSION, late)
        assert await stop_requested(turn)
    for number in range(30):
        await request_stop(world.theirs.state_store, SESSION, f"late {number}")
    state = await world.mine.state_store.load_state(SESSION, required=True)
    assert len(str(state.abort_reason).split("\n")) == 16
    world.close()


async def test_stops_of_nothing() -> None:
    """UI-6: a session that is not there, and ids that are none."""
    world = await TurnWorld.open()
    with pytest.raises(StateNotFoundError):
        await request_stop(world.mine.state_store, "nobody", "one")
    with pytest.raises(InvalidArgumentError):
        await request_stop(world.mine.state_store, "s", "")
    world.close()
