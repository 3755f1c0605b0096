"""A2A's tasks in the real runtime: the SDK's server, a late worker, two writers, large tasks, and what it weighs."""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.sse_client import call
from tools.local_runtime import LocalRuntime
from tools.requirements import worker_requirements
from tools.vendor import third_party

pytestmark = pytest.mark.runtime

FOLDER = Path(__file__).parent / "a2a_worker"
PAGE = Path(__file__).parents[2] / "docs" / "a2a.md"
MOST_GZIP_BYTES = 7_000_000


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


def test_its_size() -> None:
    """docs/a2a.md says what a Worker with A2A uploads, to a tenth of a megabyte; Cloudflare takes 10 MB."""
    folder = third_party(worker_requirements(FOLDER / "wrangler.toml", FOLDER / "a2a_entry.py"))
    content = b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
    gzip_bytes = len(gzip.compress(content, 6))
    assert gzip_bytes < MOST_GZIP_BYTES
    told = re.search(r"(\d+\.\d) MB, (\d+\.\d) MB after gzip", PAGE.read_text())
    assert told is not None, (len(content), gzip_bytes)
    assert abs(float(told[1]) - len(content) / 1e6) <= 0.1
    assert abs(float(told[2]) - gzip_bytes / 1e6) <= 0.1
