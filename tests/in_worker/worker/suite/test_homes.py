"""The state store over homes: real Durable Objects, and real D1 for the directory."""

from collections.abc import Callable
from typing import Any

import pytest

from agents_store_cloudflare import AgentState, D1StateStore, SessionOptions, create_cloudflare_store
from agents_store_cloudflare.testing.conformance.families import Families
from agents_store_cloudflare.testing.conformance.state import StateConformance
from agents_store_cloudflare.testing.conformance.state_contention import ContentionConformance
from agents_store_cloudflare.testing.conformance.state_history import HistoryConformance
from agents_store_cloudflare.testing.conformance.state_requests import RequestsConformance
from agents_store_cloudflare.testing.conformance.state_steps import StepsConformance


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
