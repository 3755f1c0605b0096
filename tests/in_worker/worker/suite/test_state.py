"""The state store on real D1."""

from typing import Any

import pytest

from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing.state_conformance import StateConformance


class TestState(StateConformance):
    @pytest.fixture
    def state_store(self, database: Any) -> D1StateStore:
        return D1StateStore(database)
