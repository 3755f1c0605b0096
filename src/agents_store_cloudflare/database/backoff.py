"""How long to wait before something that failed in passing is tried again."""

from __future__ import annotations

import random

__all__ = ["backoff_s"]

LONGEST_S = 2.0


def backoff_s(attempt: int) -> float:
    """Seconds to wait after the given attempt (1, 2 …): 0.05 to 0.1, twice as long each time, at most 2.

    Jittered, so that those who failed together do not return together.
    """
    return min(LONGEST_S, 0.1 * 2.0 ** min(attempt - 1, 10)) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
