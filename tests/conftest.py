"""Shared by every test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from agents_store_cloudflare.testing import FakeClock

pytest.register_assert_rewrite("agents_store_cloudflare.testing")

# A busy machine is slow, which is no fault of the example that runs then.
settings.register_profile("any_machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any_machine")


@pytest.fixture
def clock() -> FakeClock:
    """The clock of a test's database."""
    from agents_store_cloudflare.testing import FakeClock

    return FakeClock()
