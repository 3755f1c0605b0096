"""The fixtures that a backend's test gives to the conformance classes, and the unique names of tests."""

from __future__ import annotations

import uuid
from typing import Protocol

import pytest

from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.store import CloudflareStore
from agents_store_cloudflare.usage import D1UsageStore

__all__ = ["StateFixtures", "StoreFixtures", "Time", "UniqueNames", "UsageFixtures"]


class Time(Protocol):
    """The clock of the objects under test: a `FakeClock` on the host, a clock that really waits in the Worker."""

    async def advance(self, seconds: float) -> None: ...


class UniqueNames:
    """Gives each test a name that no other test uses."""

    @pytest.fixture
    def unique(self) -> str:
        """A name, or a beginning of names, that no other test uses."""
        return uuid.uuid4().hex


class StateFixtures(UniqueNames):
    """The fixtures for tests of the state store."""

    @pytest.fixture
    def state_store(self) -> D1StateStore:
        raise NotImplementedError("a subclass gives the state store under test")


class UsageFixtures(StateFixtures):
    """The fixtures for tests of the usage store. Its state store is on the same database."""

    @pytest.fixture
    def usage_store(self) -> D1UsageStore:
        raise NotImplementedError("a subclass gives the usage store under test")


class StoreFixtures(UniqueNames):
    """The fixtures for tests of the whole store."""

    @pytest.fixture
    def store(self) -> CloudflareStore:
        raise NotImplementedError("a subclass gives the store under test")
