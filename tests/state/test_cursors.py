"""Cursors of lists of a session, when the session is deleted and made again meanwhile."""

import asyncio

import pytest

from agents_store_cloudflare import InvalidArgumentError
from agents_store_cloudflare.contract.state.store import StateStore
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing import SqliteDatabase
from tests.homes.worlds import HomeWorld


async def _fill(states: StateStore, count: int) -> None:
    await states.create_session("s", agent_type="x")
    for _ in range(count):
        await states.save_checkpoint("s")


@pytest.fixture(params=["d1", "homes"])
async def states(request: pytest.FixtureRequest) -> StateStore:
    if request.param == "homes":
        return (await HomeWorld().store()).state_store
    database = SqliteDatabase()
    await run_migration(database)
    return D1StateStore(database)


@pytest.mark.parametrize("include_state", [True, False])
@pytest.mark.parametrize("again", [0, 1, 5, None])
async def test_a_session_made_again(states: StateStore, include_state: bool, again: int | None) -> None:
    """ST-31: A cursor of a deleted session is refused, whatever its id has now. It never goes on in another session's list."""
    await _fill(states, 4)
    page = await states.list_checkpoints("s", limit=2, include_state=include_state)
    await states.delete_session("s")
    await asyncio.sleep(0.002)
    if again is not None:
        await _fill(states, again)
    with pytest.raises(InvalidArgumentError, match="cursor"):
        await states.list_checkpoints("s", cursor=page.next_cursor, include_state=include_state)


@pytest.mark.parametrize("include_state", [True, False])
async def test_checkpoints_that_went(states: StateStore, include_state: bool) -> None:
    """ST-31: A page is empty when its session no longer keeps the checkpoints that the cursor leads to."""
    await _fill(states, 4)
    page = await states.list_checkpoints("s", limit=2, include_state=include_state)
    await states.prune_checkpoints("s", keep_last=1)
    rest = await states.list_checkpoints("s", cursor=page.next_cursor, include_state=include_state)
    assert (rest.items, rest.next_cursor, rest.has_more) == ([], None, False)
