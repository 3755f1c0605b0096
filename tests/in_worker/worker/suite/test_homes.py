"""The state store over homes: real Durable Objects, and real D1 for the directory."""

from collections.abc import Callable
from typing import Any

import pytest

from agents_store_cloudflare import AgentState, CloudflareStore, D1StateStore, SessionOptions, create_cloudflare_store
from agents_store_cloudflare.testing.conformance.families import Families
from agents_store_cloudflare.testing.conformance.state import StateConformance
from agents_store_cloudflare.testing.conformance.state_contention import ContentionConformance
from agents_store_cloudflare.testing.conformance.state_history import HistoryConformance
from agents_store_cloudflare.testing.conformance.state_requests import RequestsConformance
from agents_store_cloudflare.testing.conformance.state_steps import StepsConformance
from agents_store_cloudflare.testing.conformance.turns import TurnConformance


class OverHomes(Families):
    """The store under test: the directory follows at once."""

    @pytest.fixture
    def state_store(self, env: Any, database: Any) -> D1StateStore:
        store = create_cloudflare_store(
            db=database,
            streams=env.STREAMS,
            sessions=env.SESSIONS,
            session_options=SessionOptions(directory_delay=0),
        )
        return store.state_store

    @pytest.fixture
    def member(self) -> Callable[[str, str], str]:
        return lambda family, name: f"{family}//{name}"


class TestState(OverHomes, StateConformance): ...


class TestHistory(OverHomes, HistoryConformance): ...


class TestSteps(OverHomes, StepsConformance): ...


class TestContention(OverHomes, ContentionConformance): ...


class TestRequests(OverHomes, RequestsConformance): ...


class TestTurns(TurnConformance):
    @pytest.fixture
    def store(self, env: Any, database: Any) -> CloudflareStore:
        return create_cloudflare_store(
            db=database,
            streams=env.STREAMS,
            locks=env.LOCKS,
            sessions=env.SESSIONS,
            session_options=SessionOptions(directory_delay=0),
        )

    async def test_batches_of_a_turn(self, store: CloudflareStore, unique: str) -> None:
        """TU-9: a turn over homes asks D1 nothing."""
        async with store.turn(unique, agent_type="a"):
            pass
        with store.meter() as meter:
            async with store.turn(unique, agent_type="a", messages=[{"role": "user"}]) as turn:
                turn.add({"role": "assistant"})
        assert meter.d1.round_trips == 0


async def test_forty_megabytes(env: Any, database: Any, unique: str) -> None:
    """HM-11: in real objects a history of 40 MB is saved in one call, loaded, read by page, kept, and forked to another home."""
    store = create_cloudflare_store(db=database, streams=env.STREAMS, sessions=env.SESSIONS).state_store
    state = AgentState(session_id=unique, agent_type="x")
    state.messages = [{"role": "user", "content": f"{n} ".ljust(20_000, "x")} for n in range(2_000)]
    await store.save(state)
    loaded = await store.load_state(unique, required=True)
    assert loaded.messages == state.messages
    page = await store.get_messages(unique, offset=1_990, limit=20)
    assert [str(message.get("content"))[:4] for message in page] == [str(n) for n in range(1_990, 2_000)]
    checkpoint = await store.save_checkpoint(unique)
    for fork in (f"{unique}//fork", f"{unique}-fork"):
        assert len((await store.fork_session(unique, checkpoint.id, fork)).messages) == 2_000
        assert (await store.get_messages(fork)).total == 2_000


async def test_rows_of_a_new_home(env: Any, database: Any, unique: str) -> None:
    """HM-13: a new home costs at most 13 rows beside the session's own and the alarm; a save in it costs two rows."""
    store = create_cloudflare_store(db=database, streams=env.STREAMS, sessions=env.SESSIONS)
    with store.meter() as meter:
        state = await store.state_store.create_session(unique, agent_type="x")
    made = await _rows_of_a_session_in_d1(database, env, unique)
    assert meter.objects.rows_written is not None
    assert meter.objects.rows_written - made - 1 <= 13
    state.messages.append({"role": "user"})
    with store.meter() as meter:
        await store.state_store.save(state)
    assert meter.objects.rows_written == 2


async def _rows_of_a_session_in_d1(database: Any, env: Any, unique: str) -> int:
    plain = create_cloudflare_store(db=database, streams=env.STREAMS)
    with plain.meter() as meter:
        await plain.state_store.create_session(f"{unique}-d1", agent_type="x")
    return int(meter.d1.rows_written or 0)
