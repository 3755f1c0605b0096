"""A lock that is wrong can leave its callers waiting for ever: here that is a failure, not a suite that stands still."""

import signal
from collections.abc import Iterator
from types import FrameType, ModuleType
from typing import cast

import pytest

from tests.lengths import length

DEADLINE_S = length(30, 3_600)


class StandstillError(SystemExit):
    """Somebody waits for what never comes. A `SystemExit`, because any other exception may end in one task, and the rest waits on."""


@pytest.fixture(autouse=True)
def deadline(request: pytest.FixtureRequest) -> Iterator[None]:
    """End the test when it takes too long, also where it turns in a circle. A module of long tests sets its own `DEADLINE_S`."""
    seconds = int(vars(cast("ModuleType", request.module)).get("DEADLINE_S", DEADLINE_S))

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise StandstillError(f"no end after {seconds} s: somebody waits for what never comes")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
