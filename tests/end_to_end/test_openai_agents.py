"""The OpenAI Agents SDK in the real runtime: an agent with a tool, two writers, rewinding.

`cryptography` and `rpds` are stand-ins here, because only Pyodide's own index has their wheels. A deployed Worker has the real ones.
"""

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

FOLDER = Path(__file__).parent / "openai_agents_worker"
PAGE = Path(__file__).parents[2] / "docs" / "openai-agents.md"
MOST_GZIP_BYTES = 7_000_000
TURN = ["user", "function_call", "function_call_output", "message"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with LocalRuntime(FOLDER / "wrangler.toml", ready_path="/import") as runtime:
        yield runtime.url


def test_an_agent_talks(url: str) -> None:
    """OA-1, OA-7: the SDK's runner goes on from the stored items, tool calls among them; usage counts once."""
    assert call(url, "POST", "/talk").json == [["after 3 items", "after 7 items"], TURN * 2, 40]


def test_two_writers(url: str) -> None:
    """OA-2, OA-5: the stalled holder is refused, two pops get two items, an output without its call is refused."""
    assert call(url, "POST", "/race").json == [[4, 3], ["2", "3"], ["nowhere"]]


def test_rewinding(url: str) -> None:
    """OA-1: what is popped is gone, and so is everything after a clearing."""
    assert call(url, "POST", "/rewind").json == [1, True, [], None]


def test_its_size() -> None:
    """docs/openai-agents.md says what a Worker uploads, the two stand-ins not counted, to a tenth of a megabyte; Cloudflare takes 10 MB."""
    folder = third_party(worker_requirements(FOLDER / "wrangler.toml", FOLDER / "openai_agents_entry.py"))
    content = b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
    gzip_bytes = len(gzip.compress(content, 6))
    assert gzip_bytes < MOST_GZIP_BYTES
    told = re.search(r"(\d+\.\d) MB, (\d+\.\d) MB after gzip", PAGE.read_text())
    assert told is not None
    assert abs(float(told[1]) - len(content) / 1e6) <= 0.1
    assert abs(float(told[2]) - gzip_bytes / 1e6) <= 0.1
