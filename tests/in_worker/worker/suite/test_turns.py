"""Turns over real D1 and real Durable Objects."""

from typing import Any

import pytest

from agents_store_cloudflare import create_cloudflare_store
from agents_store_cloudflare.store import CloudflareStore
from agents_store_cloudflare.testing.conformance.turns import TurnConformance


class TestTurns(TurnConformance):
    @pytest.fixture
    def store(self, env: Any, database: Any) -> CloudflareStore:
        return create_cloudflare_store(db=database, streams=env.STREAMS, locks=env.LOCKS)
