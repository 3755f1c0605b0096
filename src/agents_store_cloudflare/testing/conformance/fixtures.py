"""The fixtures that a backend's test gives to the conformance classes, and the names that each test gets."""

from __future__ import annotations

import uuid
from typing import Protocol

import pytest

from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.store import CloudflareStore
from agents_store_cloudflare.usage import D1UsageStore

__all__ = ["StateFixtures", "StoreFixtures", "Time", "UniqueNames", "UsageFixtures"]


class Time(Protocol):
    """The time that the objects under test live in: a `FakeClock` on the host, one that really waits in the Worker."""

    async def advance(self, seconds: float) -> None: ...


class UniqueNames:
    """Gives each test a name of its own."""

    @pytest.fixture
    def unique(self) -> str:
        """A name, or the beginning of names, that no other test uses."""
        return uuid.uuid4().hex


class StateFixtures(UniqueNames):
    """What tests of the state store need."""

    @pytest.fixture
    def state_store(self) -> D1StateStore:
        raise NotImplementedError("a subclass gives the state store under test")


class UsageFixtures(StateFixtures):
    """What tests of the usage store need; its state store is on the same database."""

    @pytest.fixture
    def usage_store(self) -> D1UsageStore:
        raise NotImplementedError("a subclass gives the usage store under test")


class StoreFixtures(UniqueNames):
    """What tests of the whole store need."""

    @pytest.fixture
    def store(self) -> CloudflareStore:
        raise NotImplementedError("a subclass gives the store under test")
