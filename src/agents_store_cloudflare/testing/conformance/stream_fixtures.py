"""The fixtures of the conformance classes of streams, and helpers to write and to wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import pytest

from agents_store_cloudflare.objects import ObjectNamespace
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.streams.options import StreamOptions
from agents_store_cloudflare.testing.conformance.fixtures import Time, UniqueNames

__all__ = ["StreamFixtures", "Time", "while_time_passes", "write_numbers"]


T = TypeVar("T")


async def write_numbers(manager: DurableObjectStreamManager, stream_id: str, *numbers: int) -> None:
    """Store one chunk for each number with a new writer."""
    async with manager.create_writer(stream_id, "agent", "researcher") as writer:
        for number in numbers:
            await writer.write({"type": "text", "n": number})


async def while_time_passes(clock: Time, work: Awaitable[T]) -> T:
    """Return the result of `work`, and move the clock while it waits."""
    task = asyncio.ensure_future(work)
    while not task.done():
        await clock.advance(0.05)
    return task.result()


class StreamFixtures(UniqueNames):
    """The objects, the clock and the options under test. A subclass overrides the objects and the clock."""

    @pytest.fixture
    def stream_namespace(self) -> ObjectNamespace:
        raise NotImplementedError("a subclass gives the objects under test")

    @pytest.fixture
    def clock(self) -> Time:
        raise NotImplementedError("a subclass gives the time its objects live in")

    @pytest.fixture
    def stream_options(self) -> StreamOptions:
        """Options for every manager of a test. On the host they have the fake clock."""
        return StreamOptions()

    @pytest.fixture
    def stream_manager(
        self, stream_namespace: ObjectNamespace, stream_options: StreamOptions
    ) -> DurableObjectStreamManager:
        return DurableObjectStreamManager(stream_namespace, options=stream_options)
