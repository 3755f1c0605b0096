"""SIGKILL at random moments of turns, two callers a session: messages, checkpoint, usage, runs and streams agree after each."""

import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.kill_rounds import TIMEOUT_S, Told, ask, until_served
from tests.lengths import rounds
from tools.local_runtime import LocalRuntime

pytestmark = pytest.mark.runtime

CONFIG = Path(__file__).parent / "turns_worker/wrangler.toml"
ROUNDS = rounds(2, 30)
SESSIONS = 3
CALLERS = 2
WORDS = 4
SPENT = 3


def _swept(url: str) -> None:
    """Sweep until no dead turn's lock is held any more."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while ask(url, op="sweep")["held"]:
        assert time.monotonic() < deadline_s, "the lock of a dead Worker does not end"
        time.sleep(0.2)


def test_no_kill_parts_what_belongs_together(tmp_path: Path) -> None:
    """After every kill each session is consistent. No acknowledged turn is lost, and each interrupted turn is closed once."""
    dice = random.Random()
    told, seen = Told(), Counter[str]()
    names: list[str] = []
    with LocalRuntime(CONFIG, persist=tmp_path, ready_path="/?op=migrate") as runtime:
        for number in range(ROUNDS):
            sessions = [f"r{number}s{session}" for session in range(SESSIONS)]
            names += sessions
            for session in sessions:
                ask(runtime.url, op="open", session=session)
            with ThreadPoolExecutor(SESSIONS * CALLERS) as pool:
                work = [
                    pool.submit(told.call, runtime.url, session, caller)
                    for session in sessions
                    for caller in range(CALLERS)
                ]
                time.sleep(dice.uniform(0.3, 2.5))  # the moment of the kill is the point
                runtime.kill()
                for each in work:
                    each.result()
            runtime.restart()
            unsure = sorted(told.unsure)
            # Some are retried, beside the sweep; the others stay as the kill left them.
            retried = [each for each in unsure if dice.random() < 0.5]
            with ThreadPoolExecutor(SESSIONS * CALLERS + 1) as pool:
                retries = [pool.submit(until_served, runtime.url, *each) for each in retried]
                pool.submit(_swept, runtime.url).result()
                for each in retries:
                    each.result()
            _swept(runtime.url)
            told.done |= set(retried)
            told.unsure.clear()
            for session in sessions:
                seen += _check(ask(runtime.url, op="report", session=session), told.of(session))
            print(f"round {number + 1}: {len(told.done)} turns acknowledged, {dict(seen)}", flush=True)
        for session in names:
            _check(ask(runtime.url, op="report", session=session), told.of(session))
    assert seen["completed"] >= len(told.done) > 0


def _check(report: dict[str, Any] | None, acknowledged: set[str]) -> Counter[str]:
    """Compare all parts of one session. Return how many runs ended in each way."""
    if report is None:
        assert not acknowledged
        return Counter()
    runs = [(run["turn"], run["runId"].rpartition("-")[2], run["status"]) for run in report["runs"]]
    completed = [name for _, name, status in runs if status == "completed"]
    assert {status for _, _, status in runs} <= {"completed", "interrupted"}, runs
    assert acknowledged <= set(completed)
    assert not report["is_locked"]
    _check_messages(report, [name for _, name, _ in runs], completed)
    said = [text.split(" ") for text in report["messages"] if not text.startswith("question")]
    assert Counter(name for name, _ in report["usage"]) == Counter(name for _, name in said)
    assert {tokens for _, tokens in report["usage"]} <= {SPENT}
    assert report["total"] == SPENT * len(said)
    assert report["budget"] == [0, report["total"]]
    _check_chunks(report["chunks"], runs)
    return Counter(status for _, _, status in runs)


def _check_messages(report: dict[str, Any], names: list[str], completed: list[str]) -> None:
    messages: list[str] = report["messages"]
    assert len(completed) == len(set(completed))
    assert [text for text in messages if text.startswith("answer")] == [f"answer {name}" for name in completed]
    asked = [text for text in messages if text.startswith("question")]
    assert asked == [f"question {name}" for name in dict.fromkeys(names)]
    committed = [number for number, text in enumerate(messages) if not text.startswith("question")]
    if not committed:
        assert (report["last"], report["checkpoint"]) == (None, None)
        return
    assert report["last"] == messages[committed[-1]]
    assert report["checkpoint"] == {"count": committed[-1] + 1, "last": report["last"]}
    if completed and names[-1] == completed[-1]:
        assert report["last"] == messages[-1] == f"answer {completed[-1]}"


def _check_chunks(chunks: list[dict[str, Any]], runs: list[tuple[int, str, str]]) -> None:
    """Every run was closed once, in order, after its own chunks."""
    closings = [chunk for chunk in chunks if chunk["type"].startswith("turn-")]
    assert [(each["turn"], each["turnId"], each["status"]) for each in closings] == runs
    for turn, name, status in runs:
        closing = next(number for number, chunk in enumerate(chunks) if chunk.get("turn") == turn)
        own = [number for number, chunk in enumerate(chunks) if chunk["agentId"] == f"x-{turn}" and "text" in chunk]
        texts = [chunks[number]["text"] for number in own]
        whole = [f"{name} {number}" for number in range(WORDS)]
        assert texts == (whole if status == "completed" else whole[: len(texts)])
        assert not own or max(own) < closing
        assert chunks[closing]["type"] == ("turn-end" if status == "completed" else "turn-failed")
