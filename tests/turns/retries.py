"""Retries without pauses, for tests that make every call fail."""

from typing import Any

import pytest

from agents_store_cloudflare.database import retry
from agents_store_cloudflare.objects import namespace as object_calls

__all__ = ["at_once", "retries_at_once"]


def retries_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry calls to D1 and to the objects at once."""

    async def pause(_: Any) -> None:
        pass

    monkeypatch.setattr(retry, "pause_before_retry", pause)
    monkeypatch.setattr(object_calls, "backoff_s", at_once)


def at_once(_attempt: int) -> float:
    """Return no pause before an attempt."""
    return 0.0
