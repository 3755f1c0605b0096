"""examples/usage_budget in the real runtime: no cap is passed, and the totals are what was settled."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.sse_client import Answer, call
from tools.local_runtime import LocalRuntime

pytestmark = pytest.mark.runtime

CONFIG = Path(__file__).parents[2] / "examples/usage_budget/wrangler.toml"
TOKENS = 1_000 + 10 * 5 + 100 * 5
RESERVED = 1_000 + 10 * 5 + 2_000


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[LocalRuntime]:
    """Serve the unchanged example with nothing spent."""
    with LocalRuntime(CONFIG, persist=tmp_path) as runtime:
        yield runtime


def _ask(worker: LocalRuntime, session: str) -> Answer:
    return call(worker.url, "GET", f"/ask?session={session}")


def _used(worker: LocalRuntime, session: str) -> Any:
    answer = call(worker.url, "GET", f"/usage?session={session}")
    assert answer.status == 200, answer.body
    return answer.json


def test_the_caps_of_session_and_tenant(worker: LocalRuntime) -> None:
    """US-17, US-19: The caps are those of the README. Totals and refusals are the same after a SIGKILL."""
    first, second, third = [_ask(worker, "ada") for _ in range(3)]
    assert (first.status, second.status, third.status) == (200, 200, 402)
    assert first.json == {
        "answer": "You asked in 5 words.",
        "tokens": TOKENS,
        "left": {"session": 3450, "tenant": 6450},
    }
    assert third.json["error"]["code"] == "budget_exceeded"
    assert third.json["left"] == {"session": 1900, "tenant": 4900}
    used = {"calls": 2, "tokens": 3100, "cost": "$0.015250", "left": {"session": 1900, "tenant": 4900}}
    assert _used(worker, "ada") == used
    assert [_ask(worker, "bob").status for _ in range(2)] == [200, 200]
    worker.kill()
    worker.restart()
    carol = _ask(worker, "carol")
    assert (carol.status, carol.json["left"]) == (402, {"session": 5000, "tenant": 1800})
    assert _used(worker, "ada") == {**used, "left": {"session": 1900, "tenant": 1800}}
    assert _used(worker, "carol")["calls"] == 0


def test_a_shorter_question_costs_less(worker: LocalRuntime) -> None:
    """The unused part of a reservation is available to the next question."""
    answer = call(worker.url, "GET", "/ask?session=ada&question=Why%3F")
    assert answer.json == {"answer": "You asked in 1 words.", "tokens": 1110, "left": {"session": 3890, "tenant": 6890}}
    assert _used(worker, "ada")["cost"] == "$0.003525"


def test_many_at_once_pass_no_cap(worker: LocalRuntime) -> None:
    """US-17, US-19: Of twelve questions at once in three sessions, the granted ones are the used ones, and they stay under the cap."""
    sessions = ["ada", "bob", "carol"]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(partial(_ask, worker), sessions * 4))
    granted = [answer for answer in answers if answer.status == 200]
    assert granted
    assert {answer.status for answer in answers} == {200, 402}
    used = [_used(worker, session) for session in sessions]
    assert sum(each["calls"] for each in used) == len(granted)
    spent = sum(each["tokens"] for each in used)
    assert spent == TOKENS * len(granted)
    for each in used:
        if each["calls"]:
            assert each["left"] == {"session": 5000 - each["tokens"], "tenant": 8000 - spent}
    assert max(each["tokens"] for each in used) <= 5000 - RESERVED + TOKENS
    assert spent <= 8000 - RESERVED + TOKENS


def test_what_it_refuses(worker: LocalRuntime) -> None:
    """It refuses other paths and ids that no store takes. A session without questions has used nothing."""
    assert call(worker.url, "GET", "/").status == 404
    assert call(worker.url, "GET", "/ask?session=" + "x" * 600).status == 400
    assert _used(worker, "nobody") == {
        "calls": 0,
        "tokens": 0,
        "cost": "$0.000000",
        "left": {"session": None, "tenant": None},
    }
