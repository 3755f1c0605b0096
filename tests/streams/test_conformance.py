"""The stream contract on sqlite, in process."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from agents_store_cloudflare.streams.options import StreamOptions
from agents_store_cloudflare.streams.stream_object import StreamObject
from agents_store_cloudflare.testing import FakeClock, LocalObjects
from agents_store_cloudflare.testing.stream_conformance import StreamConformance


class TestStreams(StreamConformance):
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def stream_namespace(self, clock: FakeClock) -> LocalObjects:
        return LocalObjects(StreamObject, clock=clock)

    @pytest.fixture
    def stream_options(self, clock: FakeClock) -> StreamOptions:
        return StreamOptions(now_ms=clock.now_ms, sleep=sleeping_by(clock))


def sleeping_by(clock: FakeClock) -> Callable[[float], Awaitable[None]]:
    async def sleep(seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        cancel = clock.call_at(clock.now_ms() + round(seconds * 1000), lambda: woken.set_result(None))
        try:
            await woken
        finally:
            cancel()

    return sleep
