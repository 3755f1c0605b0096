"""Shared by every test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from agents_store_cloudflare.testing import FakeClock

pytest.register_assert_rewrite("agents_store_cloudflare.testing")


@pytest.fixture
def clock() -> FakeClock:
    """The clock of a test's database."""
    from agents_store_cloudflare.testing import FakeClock

    return FakeClock()
