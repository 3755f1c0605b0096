"""Turns on sqlite and objects in process, through the same conformance class as in the Worker."""

import re
from typing import Any

import pytest

from agents_store_cloudflare import AgentState, TurnError, create_cloudflare_store
from agents_store_cloudflare.database import MAX_VALUE_BYTES, Statement
from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.locks.lock_object import LockObject
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.state import StateStoreOptions, StoreLimits
from agents_store_cloudflare.state.options import MOST_STATE_BYTES
from agents_store_cloudflare.state.stored_text import stored_text
from agents_store_cloudflare.state.turn_entering import MOST_OWED
from agents_store_cloudflare.store import CloudflareStore
from agents_store_cloudflare.streams.options import StreamOptions
from agents_store_cloudflare.testing import FaultyNamespace, LocalObjects, SqliteDatabase
from agents_store_cloudflare.testing.conformance.turns import TurnConformance
from agents_store_cloudflare.testing.faults import Moment

NO_REPLIES: tuple[Moment, ...] = ("before",) * 40


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


async def test_the_longest_names_beside_the_largest_state() -> None:
    """ST-12, TU-4: The largest state and all closing chunks that it may owe its stream fit in a row, beside the largest commits."""
    database, streams = SqliteDatabase(), FaultyNamespace(LocalObjects(StreamObject))
    await run_migration(database)
    limits = StoreLimits(max_state_bytes=MOST_STATE_BYTES)
    store = create_cloudflare_store(
        db=database, streams=streams, locks=LocalObjects(LockObject), state_options=StateStoreOptions(limits=limits),
        stream_options=StreamOptions(sleep=_no_pause),
    )  # fmt: skip
    name, label = '"' * 508, '"' * 2_000
    # The two labels have 4,002 bytes each as JSON, and stand in the state with all that is not its custom state.
    padding = "x" * (MOST_STATE_BYTES - 2 * 4_002 - 1_200)
    state = AgentState(session_id=name, agent_type=label, status=label, custom_state={"x": padding})
    await store.state_store.save(state)
    for number in range(MOST_OWED + 1):
        streams.fail(*NO_REPLIES)
        async with store.turn(name, agent_type=label, agent_id=name, turn_id=f"{number}{name}"):
            pass
    streams.fail(*NO_REPLIES)
    with pytest.raises(TurnError, match="owes its stream 8 closing chunks"):
        await store.turn(name, agent_type=label, turn_id=f"last{name}").__aenter__()
    texts = "session_id || agent_type || status || custom_state || details || stream_id || owed_closings"
    [[[size]]] = await database.batch(
        [Statement(f"SELECT length(CAST({texts} AS BLOB)) AS bytes FROM __agents_states")]
    )
    assert 60_000 < int(size or 0) - MOST_STATE_BYTES < MAX_VALUE_BYTES - MOST_STATE_BYTES - 94_000


async def _no_pause(_seconds: float) -> None:
    """Replace every pause with none."""
