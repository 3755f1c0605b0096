"""The usage store on real D1."""

from typing import Any

import pytest

from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing.usage_conformance import UsageConformance
from agents_store_cloudflare.usage import D1UsageStore


class TestUsage(UsageConformance):
    @pytest.fixture
    def usage_store(self, database: Any) -> D1UsageStore:
        return D1UsageStore(database)

    @pytest.fixture
    def state_store(self, database: Any) -> D1StateStore:
        return D1StateStore(database)
