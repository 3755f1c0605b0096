"""Locks in real Durable Objects."""

from typing import Any

import pytest

from agents_store_cloudflare.bindings import as_namespace
from agents_store_cloudflare.objects import ObjectNamespace
from agents_store_cloudflare.testing import SystemClock
from agents_store_cloudflare.testing.lock_conformance import LockConformance


class TestLocks(LockConformance):
    @pytest.fixture
    def clock(self) -> SystemClock:
        return SystemClock()

    @pytest.fixture
    def lock_namespace(self, env: Any) -> ObjectNamespace:
        return as_namespace(env.LOCKS)
