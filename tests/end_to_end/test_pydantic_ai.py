"""pydantic-ai's conversations in the real runtime: an agent, two writers, large messages, and what it costs there."""

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

FOLDER = Path(__file__).parent / "pydantic_ai_worker"
PAGE = Path(__file__).parents[2] / "docs" / "pydantic-ai.md"
MOST_GZIP_BYTES = 7_000_000


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with LocalRuntime(FOLDER / "wrangler.toml") as runtime:
        assert call(runtime.url, "GET", "/import").json["version"].startswith("2.")
        yield runtime.url


def test_an_agent_talks(url: str) -> None:
    """PA-1, PA-7: Two runs of an agent with a tool store their usage, and a list by scope finds them. The deletion leaves nothing."""
    seen = call(url, "POST", "/talk").json
    assert seen == {
        "kinds": ["request", "response"] * 3,
        "listed": "talk",
        "models": ["test"],
        "after": None,
    }


def test_two_writers(url: str) -> None:
    """PA-3, PA-4: The late writer gets a clear refusal, with and without a lock."""
    assert call(url, "POST", "/race").json == ["race", [4, 3], ["a", "new"]]


def test_large_messages(url: str) -> None:
    """PA-6: Messages over 2 MB, the limit of a row, come back unchanged."""
    assert call(url, "POST", "/large").json is True


def test_a_thousand_messages(url: str) -> None:
    """PA-2: One batch stores a thousand messages, and one batch reads them. Each message is a row, and the record is a row."""
    assert call(url, "POST", "/long").json == [True, 2, 1_001]


def test_costs(url: str) -> None:
    """PA-2: The batches and rows are those in docs/pydantic-ai.md."""
    assert call(url, "POST", "/costs").json == {
        "save plain first": [2, 3],
        "save plain next": [2, 3],
        "load plain": [2, 0],
        "fork plain": [3, 2],
        "save scoped first": [2, 4],
        "save scoped next": [2, 4],
        "load scoped": [2, 0],
        "fork scoped": [3, 3],
        "list": [1, 0],
    }


def test_budgets_of_the_harness(url: str) -> None:
    """HS-1, HS-2, HS-3: Of 24 responses of four stores at once, each sent twice, twelve count. The old holder of a lock is refused."""
    assert call(url, "POST", "/spend").json == [["1.2", 12], ["1.2", 12], ["0", 0], [4, 3]]


def test_steps_of_the_harness(url: str) -> None:
    """HS-6, HS-7, HS-9: The steps of a run come back equal. A repeated event and effect write nothing; the old holder is refused."""
    seen = call(url, "POST", "/steps").json
    assert seen["found"] == [True] * 5
    assert seen["again"][0] <= 5


def test_its_size() -> None:
    """The upload of a Worker with pydantic-ai is as large as docs/pydantic-ai.md says, to 0.1 MB. Cloudflare takes 10 MB."""
    config = FOLDER / "wrangler.toml"
    folder = third_party(worker_requirements(config, FOLDER / "pydantic_ai_entry.py"))
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    content = b"".join(path.read_bytes() for path in files)
    gzip_bytes = len(gzip.compress(content, 6))
    assert gzip_bytes < MOST_GZIP_BYTES
    told = re.search(r"(\d+\.\d) MB, (\d+\.\d) MB after gzip", PAGE.read_text())
    assert told is not None
    assert abs(float(told[1]) - len(content) / 1e6) <= 0.1
    assert abs(float(told[2]) - gzip_bytes / 1e6) <= 0.1
