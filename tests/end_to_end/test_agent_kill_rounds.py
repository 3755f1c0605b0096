"""SIGKILL at random moments of agents' turns, two callers a thread, with LangGraph and with pydantic-ai: nothing is lost or doubled."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.kill_rounds import Told, ask, until_served
from tests.lengths import rounds
from tools.local_runtime import LocalRuntime

pytestmark = pytest.mark.runtime

HERE = Path(__file__).parent
ROUNDS = rounds(2, 30)
SESSIONS = 2
CALLERS = 2
FRAMEWORKS = ("langgraph", "pydantic_ai")


def _of_langgraph(report: dict[str, Any]) -> None:
    """Each checkpoint is a beginning of the thread, and the memory has each turn whose answer is stored."""
    messages: list[str] = report["messages"]
    assert all(each == messages[: len(each)] for each in report["history"])
    answered = {text.removeprefix("answer ") for text in messages if text.startswith("answer ")}
    asked = {text.removeprefix("question ") for text in messages if text.startswith("question ")}
    assert answered <= set(report["remembered"]) <= asked


def _of_pydantic_ai(report: dict[str, Any]) -> None:
    """Turns are stored whole, with their usage."""
    assert len(report["messages"]) % 3 == 0
    assert report["spent"] == report["recorded"]
    assert (report["spent"] > 0) == bool(report["messages"])


def _check(framework: str, report: dict[str, Any], acknowledged: set[str]) -> int:
    """Compare all that one thread has. Return the number of its turns."""
    messages: list[str] = report["messages"]
    names = list(dict.fromkeys(text.split(" ")[1] for text in messages))
    whole = [f"{kind} {name}" for name in names for kind in ("question", "step", "answer")]
    assert messages == whole[: len(messages)]
    assert len(messages) > len(whole) - 3
    assert acknowledged <= {text.split(" ")[1] for text in messages if text.startswith("answer ")}
    {"langgraph": _of_langgraph, "pydantic_ai": _of_pydantic_ai}[framework](report)
    return len(names)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_no_kill_loses_or_doubles_a_turn(framework: str, tmp_path: Path) -> None:
    """LG-4, LG-7, LG-17, PA-4, PA-5, PA-7: after every kill each thread is whole, has what was acknowledged once, and serves retries."""
    dice = random.Random()
    told, turns = Told(), 0
    names: list[str] = []
    config = HERE / f"{framework}_kill_worker/wrangler.toml"
    with LocalRuntime(config, persist=tmp_path, ready_path="/?op=migrate") as runtime:
        for number in range(ROUNDS):
            sessions = [f"r{number}s{session}" for session in range(SESSIONS)]
            names += sessions
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
            for session in sessions:
                _check(framework, ask(runtime.url, op="report", session=session), told.of(session))
            retried = sorted(told.unsure)
            with ThreadPoolExecutor(SESSIONS * CALLERS) as pool:
                for each in [pool.submit(until_served, runtime.url, *lost) for lost in retried]:
                    each.result()
            told.done |= set(retried)
            told.unsure.clear()
            reports = {session: ask(runtime.url, op="report", session=session) for session in sessions}
            turns += sum(_check(framework, report, told.of(session)) for session, report in reports.items())
            print(f"round {number + 1}: {len(told.done)} turns acknowledged", flush=True)
        for session in names:
            report = ask(runtime.url, op="report", session=session)
            _check(framework, report, told.of(session))
            assert len(report["messages"]) == 3 * len(told.of(session))
    assert turns == len(told.done) > 0
