"""A lock that is wrong can leave its callers waiting for ever: here that is a failure, not a suite that stands still."""

import signal
from collections.abc import Generator
from pathlib import Path
from types import FrameType

import pytest

from tests.lengths import length

HERE = Path(__file__).parent
DEADLINE_S = length(30, 3_600)
DEADLINE_OF_SIMULATIONS_S = length(240, 3_600)
AGAIN_S = 5


class StandstillError(SystemExit):
    """Somebody waits for ever. It is a `SystemExit`, because any other exception could end one task while the others wait on."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """End a test of this folder that takes too long, its tear-down included, also when it loops without waiting."""
    if not item.path.is_relative_to(HERE):  # pytest asks every conftest.py about every test
        return (yield)
    seconds = DEADLINE_OF_SIMULATIONS_S if item.path.name == "test_simulation.py" else DEADLINE_S

    def stop(_number: int, _frame: FrameType | None) -> None:
        signal.alarm(AGAIN_S)
        raise StandstillError(f"no end after {seconds} s: somebody waits for what never comes")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        return (yield)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
