"""The pause before a call that failed transiently is tried again."""

from __future__ import annotations

import random

__all__ = ["backoff_s"]

LONGEST_S = 2.0


def backoff_s(attempt: int) -> float:
    """Return the seconds to wait after an attempt (1, 2 …): 0.05 to 0.1 at first, twice as long each time, at most 2.

    The pause is random, so that calls that failed together do not come back together.
    """
    return min(LONGEST_S, 0.1 * 2.0 ** min(attempt - 1, 10)) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
