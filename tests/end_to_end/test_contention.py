"""Sixteen requests change one session at once, in the real runtime: each a Worker's request of its own."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.end_to_end.sse_client import Answer, call
from tools.local_runtime import LocalRuntime

pytestmark = pytest.mark.runtime

CONFIG = Path(__file__).parent / "contention_worker" / "wrangler.toml"
REQUESTS = 16


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with LocalRuntime(CONFIG) as runtime:
        yield runtime.url


@pytest.mark.parametrize("name", ["merge", "update", "promote", "append"])
def test_requests_at_once(url: str, name: str) -> None:
    """ST-29, ST-35, ST-37, ST-46: All requests succeed, and each addition is stored once."""
    assert call(url, "POST", f"/make/{name}").status == 200

    def change(number: int) -> Answer:
        return call(url, "POST", f"/{name}/{name}/{number}")

    with ThreadPoolExecutor(REQUESTS) as pool:
        answers = list(pool.map(change, range(REQUESTS)))
    assert [answer.status for answer in answers] == [200] * REQUESTS, [answer.body[-300:] for answer in answers]
    shown = call(url, "GET", f"/look/{name}").json
    found = [each["content"] for each in shown["messages"]] if name == "append" else shown["numbers"]
    assert sorted(found, key=int) == [str(number) for number in range(REQUESTS)]
