"""The lock contract on sqlite, in process."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from agents_store_cloudflare.locks import LockObject, LockOptions
from agents_store_cloudflare.testing import FakeClock, LocalObjects
from agents_store_cloudflare.testing.lock_conformance import LockConformance


class TestLocks(LockConformance):
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def lock_namespace(self, clock: FakeClock) -> LocalObjects:
        return LocalObjects(LockObject, clock=clock)

    @pytest.fixture
    def lock_options(self, clock: FakeClock) -> LockOptions:
        return LockOptions(now_s=lambda: clock.now_ms() / 1000, sleep=sleeping_by(clock))


def sleeping_by(clock: FakeClock) -> Callable[[float], Awaitable[None]]:
    async def sleep(seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        cancel = clock.call_at(clock.now_ms() + round(seconds * 1000), lambda: woken.set_result(None))
        try:
            await woken
        finally:
            cancel()

    return sleep
