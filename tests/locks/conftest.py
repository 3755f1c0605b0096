"""A lock that is wrong can leave its callers waiting for ever: here that is a failure, not a suite that stands still."""

import signal
from collections.abc import Iterator
from types import FrameType

import pytest

from tests.lengths import length

DEADLINE_S = length(120, 3_600)


@pytest.fixture(autouse=True)
def deadline() -> Iterator[None]:
    """End the test when it takes too long, also where it waits for what never comes or turns in a circle."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"no end after {DEADLINE_S} s: somebody waits for what never comes")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(DEADLINE_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
