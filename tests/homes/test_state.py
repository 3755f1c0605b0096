"""The state store over homes, through the same conformance classes as over D1."""

from collections.abc import Callable

import pytest

from agents_store_cloudflare import D1StateStore, SessionOptions, create_cloudflare_store, run_migration
from agents_store_cloudflare.durable_streams import StreamObject
from agents_store_cloudflare.homes.session_object import SessionObject
from agents_store_cloudflare.testing import LocalObjects, SqliteDatabase
from agents_store_cloudflare.testing.conformance.families import Families
from agents_store_cloudflare.testing.conformance.state import StateConformance
from agents_store_cloudflare.testing.conformance.state_contention import ContentionConformance
from agents_store_cloudflare.testing.conformance.state_history import HistoryConformance
from agents_store_cloudflare.testing.conformance.state_requests import RequestsConformance
from agents_store_cloudflare.testing.conformance.state_steps import StepsConformance


class OverHomes(Families):
    """The store under test: the directory follows at once."""

    @pytest.fixture
    async def state_store(self) -> D1StateStore:
        database = SqliteDatabase()
        await run_migration(database)
        sessions = LocalObjects(lambda host: SessionObject(host, database=lambda: database))
        store = create_cloudflare_store(
            db=database,
            streams=LocalObjects(StreamObject),
            sessions=sessions,
            session_options=SessionOptions(directory_delay=0),
        )
        return store.state_store

    @pytest.fixture
    def member(self) -> Callable[[str, str], str]:
        return lambda family, name: f"{family}//{name}"


class TestState(OverHomes, StateConformance): ...


class TestHistory(OverHomes, HistoryConformance): ...


class TestSteps(OverHomes, StepsConformance): ...


class TestRequests(OverHomes, RequestsConformance): ...


class TestContention(OverHomes, ContentionConformance): ...
