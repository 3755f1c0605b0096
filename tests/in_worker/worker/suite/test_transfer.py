"""Export and import over real D1 and real Durable Objects."""

from typing import Any

import pytest

from agents_store_cloudflare import create_cloudflare_store
from agents_store_cloudflare.store import CloudflareStore
from agents_store_cloudflare.testing.conformance.transfer import TransferConformance


class TestTransfer(TransferConformance):
    @pytest.fixture
    def store(self, env: Any, database: Any) -> CloudflareStore:
        return create_cloudflare_store(db=database, streams=env.STREAMS, locks=env.LOCKS)

    @pytest.fixture
    def source(self, database: Any) -> Any:
        return database
