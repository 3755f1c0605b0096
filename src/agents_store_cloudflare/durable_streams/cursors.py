"""The cursor of live reads. It changes with time, so that no cache serves a client the same page for ever."""

from __future__ import annotations

import secrets
from typing import Final

__all__ = ["cursor_of"]

EPOCH_MS: Final = 1_728_432_000_000
"""2024-10-09T00:00:00Z. The protocol counts intervals from this time."""

INTERVAL_MS: Final = 20_000
MAX_JITTER: Final = 180
"""The number of intervals in an hour."""


def cursor_of(now_ms: int, given: int | None) -> str:
    """Return the number of the current interval. It is always above the cursor that the client has sent."""
    current = max(0, now_ms - EPOCH_MS) // INTERVAL_MS
    return str(current if given is None or given < current else given + 1 + secrets.randbelow(MAX_JITTER))
