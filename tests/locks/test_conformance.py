"""The lock contract on sqlite, in process."""

import pytest

from agents_store_cloudflare.locks import LockObject, LockOptions
from agents_store_cloudflare.testing import FakeClock, LocalObjects
from agents_store_cloudflare.testing.conformance.locks import LockConformance


class TestLocks(LockConformance):
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def lock_namespace(self, clock: FakeClock) -> LocalObjects:
        return LocalObjects(LockObject, clock=clock)

    @pytest.fixture
    def lock_options(self, clock: FakeClock) -> LockOptions:
        return LockOptions(now_s=lambda: clock.now_ms() / 1000, sleep=clock.sleep)
