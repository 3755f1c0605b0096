"""A store in a module global, in the real runtime: the log names the mistake and the remedy."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from agents_store_cloudflare.cloudflare.namespace import SHARED
from tests.end_to_end.sse_client import call
from tools.local_runtime import LocalRuntime

pytestmark = pytest.mark.runtime

CONFIG = Path(__file__).with_name("global_store_worker") / "wrangler.toml"
METHODS = ("POST", "GET", "GET")
ROUNDS = 10
"""A round warns as soon as a request takes the line of another; usually the first one does."""


def test_a_store_that_two_requests_share_is_told(tmp_path: Path) -> None:
    """CO-11: the warning says how to make the store. The calls themselves are sent again and work."""
    with LocalRuntime(CONFIG, persist=tmp_path) as runtime, ThreadPoolExecutor(len(METHODS)) as pool:
        for _ in range(ROUNDS):
            answers = list(pool.map(partial(call, runtime.url, path="/"), METHODS))
            assert [answer.body for answer in answers] == [b"written", b"read", b"read"]
            if SHARED in runtime.log().read_text():
                return
    raise AssertionError(f"{ROUNDS} rounds without a warning")
