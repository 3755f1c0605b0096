"""Turns on sqlite and objects in process, through the same conformance class as in the Worker."""

import re
from typing import Any

import pytest

from agents_store_cloudflare import TurnError, create_cloudflare_store
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.locks.lock_object import LockObject
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.state.stored_text import stored_text
from agents_store_cloudflare.store import CloudflareStore
from agents_store_cloudflare.testing import LocalObjects, SqliteDatabase
from agents_store_cloudflare.testing.conformance.turns import TurnConformance


class TestTurns(TurnConformance):
    @pytest.fixture
    async def store(self) -> CloudflareStore:
        database = SqliteDatabase()
        await run_migration(database)
        return create_cloudflare_store(db=database, streams=LocalObjects(StreamObject), locks=LocalObjects(LockObject))


async def test_a_use_before_the_block_is_explained() -> None:
    """`store.turn` without `async with` names the mistake."""
    store = create_cloudflare_store(
        db=SqliteDatabase(), streams=LocalObjects(StreamObject), locks=LocalObjects(LockObject)
    )
    unentered: Any = store.turn("ada", agent_type="chat")
    with pytest.raises(AttributeError, match=r"not entered yet.*'write'.*async with store\.turn"):
        await unentered.write({"type": "text"})


@pytest.mark.parametrize("agent_type", ['"quoted"', "two\nlines", "nul\0"])
async def test_an_agent_type_that_is_stored_as_json(agent_type: str) -> None:
    """TU-2, MG-11: A turn makes a session as `create_session` does, and enters one that `create_session` has made."""
    database = SqliteDatabase()
    await run_migration(database)
    store = create_cloudflare_store(db=database, streams=LocalObjects(StreamObject), locks=LocalObjects(LockObject))
    await store.state_store.create_session("made by the store", agent_type=agent_type)
    for session_id in ("made by the store", "made by the turn"):
        async with store.turn(session_id, agent_type=agent_type) as turn:
            turn.add({"role": "user"})
        assert (await store.state_store.load_state(session_id, required=True)).agent_type == agent_type
        with pytest.raises(TurnError, match=re.escape(f"is of agent type {agent_type!r}, not 'other'")):
            await store.turn(session_id, agent_type="other").__aenter__()
    [rows] = await database.batch([Statement("SELECT DISTINCT agent_type FROM __agents_states")])
    assert rows == [[stored_text(agent_type)]]
