"""examples/locked_worker in the real runtime: a holder that pauses for too long writes nothing."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.end_to_end.sse_client import Answer, call
from tools.local_runtime import LocalRuntime

pytestmark = pytest.mark.runtime

EXAMPLE = Path(__file__).parents[2] / "examples/locked_worker"
LINE = re.compile(r"( ?[0-9]+\.[0-9]) s  token ([0-9]+)  (.*)")
PATIENCE_S = 60.0
TTL_S = 2.0


@pytest.fixture(scope="module")
def worker() -> Iterator[LocalRuntime]:
    """Serve the unchanged example."""
    with LocalRuntime(EXAMPLE / "wrangler.toml") as runtime:
        yield runtime


def _timeline(answer: Answer) -> list[tuple[float, int, str]]:
    """Return (seconds, token, action) of each line."""
    matches = [LINE.fullmatch(line) for line in answer.body.decode().splitlines()]
    assert all(matches), answer.body
    return [(float(match[1]), int(match[2]), match[3]) for match in matches if match is not None]


def _shown(worker: LocalRuntime) -> str:
    return call(worker.url, "GET", "/").body.decode().strip()


def _await_locked(worker: LocalRuntime) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not _shown(worker).endswith("locked"):
        assert time.monotonic() < deadline, "nobody took the lock"


def test_the_late_write_is_refused(worker: LocalRuntime) -> None:
    """LK-4, ST-11: The late write knows the version and is refused only for its token. The other holder's write stays."""
    with ThreadPoolExecutor() as pool:
        # Long beside the lease: the other one has ten seconds to write, on however busy a machine.
        slow = pool.submit(call, worker.url, "GET", "/write?who=slow&pause=12")
        _await_locked(worker)
        quick = call(worker.url, "GET", "/write?who=quick")
        assert _shown(worker) == "written by quick; free"
        assert not slow.done()
    assert quick.status == 200
    (_, quick_token, _), _ = _timeline(quick)
    assert slow.result().status == 409
    told = _timeline(slow.result())
    slow_token = told[0][1]
    assert slow_token < quick_token
    assert [(token, did) for _, token, did in told] == [
        (slow_token, "slow took the lock"),
        (quick_token, "quick took the lock"),
        (quick_token, "quick writes"),
        (slow_token, "slow writes"),
        (slow_token, f"slow is REFUSED: the store has seen {quick_token}"),
    ]
    assert told[1][0] >= TTL_S - 0.2, "the lease was not over"
    assert told[3][0] >= 11.9, "it did not pause"
    assert _shown(worker) == "written by quick; free"


def test_within_the_lease_both_write(worker: LocalRuntime) -> None:
    """Both write one after the other, and the second token is higher."""
    ada = call(worker.url, "GET", "/write?who=ada")
    bob = call(worker.url, "GET", "/write?who=bob")
    assert (ada.status, bob.status) == (200, 200)
    assert [did for _, _, did in _timeline(ada)] == ["ada took the lock", "ada writes"]
    assert _timeline(ada)[0][1] < _timeline(bob)[0][1]
    assert _shown(worker) == "written by bob; free"


@pytest.mark.parametrize("pause", ["-1", "21", "1.5", "x", "%C2%B2", "9" * 5000])
def test_a_pause_it_cannot_make_is_refused(worker: LocalRuntime, pause: str) -> None:
    """A pause outside the range is a 400 that names the range."""
    answer = call(worker.url, "GET", f"/write?pause={pause}")
    assert (answer.status, answer.body) == (400, b"pause must be whole seconds, at most 20\n")
