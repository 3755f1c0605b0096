"""The usage store on real D1."""

from typing import Any

import pytest

from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing.conformance.usage import UsageConformance
from agents_store_cloudflare.testing.conformance.usage_budgets import UsageBudgetConformance
from agents_store_cloudflare.testing.conformance.usage_totals import UsageTotalsConformance
from agents_store_cloudflare.usage import D1UsageStore, UsageOptions


class TestUsage(UsageConformance, UsageTotalsConformance, UsageBudgetConformance):
    @pytest.fixture
    def usage_store(self, database: Any) -> D1UsageStore:
        return D1UsageStore(database)

    @pytest.fixture
    def state_store(self, database: Any) -> D1StateStore:
        return D1StateStore(database)


class TestCustomTable(UsageTotalsConformance):
    @pytest.fixture
    def usage_store(self, database: Any) -> D1UsageStore:
        from pyodide.ffi import run_sync

        store = D1UsageStore(database, table_name="usage_of_mine")
        run_sync(store.ensure_table())
        return store

    @pytest.fixture
    def state_store(self, database: Any) -> D1StateStore:
        return D1StateStore(database, usage=UsageOptions(table_name="usage_of_mine"))
