"""The state store on real D1."""

from typing import Any

import pytest

from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing.conformance.state import StateConformance
from agents_store_cloudflare.testing.conformance.state_contention import ContentionConformance
from agents_store_cloudflare.testing.conformance.state_history import HistoryConformance
from agents_store_cloudflare.testing.conformance.state_pops import PopConformance
from agents_store_cloudflare.testing.conformance.state_requests import RequestsConformance
from agents_store_cloudflare.testing.conformance.state_steps import StepsConformance


class TestState(StateConformance):
    @pytest.fixture
    def state_store(self, database: Any) -> D1StateStore:
        return D1StateStore(database)


class TestHistory(HistoryConformance):
    @pytest.fixture
    def state_store(self, database: Any) -> D1StateStore:
        return D1StateStore(database)


class TestPops(PopConformance):
    @pytest.fixture
    def state_store(self, database: Any) -> D1StateStore:
        return D1StateStore(database)


class TestSteps(StepsConformance):
    @pytest.fixture
    def state_store(self, database: Any) -> D1StateStore:
        return D1StateStore(database)


class TestContention(ContentionConformance):
    @pytest.fixture
    def state_store(self, database: Any) -> D1StateStore:
        return D1StateStore(database)


class TestRequests(RequestsConformance):
    @pytest.fixture
    def state_store(self, database: Any) -> D1StateStore:
        return D1StateStore(database)
