"""The state store over homes: real Durable Objects, and real D1 for the directory."""

from collections.abc import Callable
from typing import Any

import pytest

from agents_store_cloudflare import D1StateStore, SessionOptions, create_cloudflare_store
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
