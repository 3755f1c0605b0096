"""The pause before the next attempt of a call that reads, decides in Python and writes.

An attempt fails when somebody else wrote in between.
"""

from __future__ import annotations

import asyncio
import random

__all__ = ["MOST_ATTEMPTS", "pause_after_conflict"]

MOST_ATTEMPTS = 30
"""The most attempts of a call. They are enough for dozens of calls at once, because one of them succeeds in each round."""

SHORTEST_S, LONGEST_S = 0.02, 1.0


async def pause_after_conflict(attempt: int) -> None:
    """Wait a random time, so that calls that disturbed each other once do not do it again.

    Args:
        attempt: how many attempts have failed. The longest possible pause doubles with each attempt, from 0.02 to 1 second.
    """
    longest_s = min(LONGEST_S, SHORTEST_S * 2.0 ** min(attempt - 1, 10))
    await asyncio.sleep(random.uniform(0, longest_s))  # noqa: S311 - no secret
