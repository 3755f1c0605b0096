"""A2A's tasks in the real runtime: the SDK's server, a late worker, two writers, large tasks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.sse_client import call
from tools.local_runtime import LocalRuntime

pytestmark = pytest.mark.runtime

FOLDER = Path(__file__).parent / "a2a_worker"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with LocalRuntime(FOLDER / "wrangler.toml", ready_path="/import") as runtime:
        yield runtime.url


def test_an_agent_answers(url: str) -> None:
    """A2-1: a message becomes a task of the SDK's server; another one shows and lists it."""
    assert call(url, "POST", "/answer").json == ["TASK_STATE_COMPLETED", ["the answer"], [True]]


def test_a_late_worker(url: str) -> None:
    """A2-2: the task that another server cancelled stays cancelled, whatever its agent still says."""
    assert call(url, "POST", "/cancel").json == ["TASK_STATE_CANCELED", "TASK_STATE_CANCELED", 0]


def test_two_writers(url: str) -> None:
    """A2-2, A2-3: the late one is refused by name, without a lock and with one."""
    assert call(url, "POST", "/fence").json == ["conflict", [4, 3]]


def test_a_large_task(url: str) -> None:
    """A2-5: above the 2 MB of a row it is refused by name."""
    assert call(url, "POST", "/large").json == [900_000, "foreign_value"]
