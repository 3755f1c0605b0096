"""SIGKILL at random moments while homes are written: what was answered is there once, and the directory rights itself."""

import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.lengths import rounds
from tools.local_runtime import LocalRuntime

pytestmark = pytest.mark.runtime

CONFIG = Path(__file__).parent / "homes_worker/wrangler.toml"
ROUNDS = rounds(2, 30)
KINDS = ("append", "append", "turn", "turn")
PATIENCE_S = 150
"""An alarm that failed tries again within a minute."""


def _ask(url: str, *path: object) -> Any:
    with urlopen(f"{url}/{'/'.join(map(str, path))}", timeout=60) as response:
        return json.load(response)


def _work(url: str, kind: str, session_id: str) -> list[str]:
    """Write again and again until the Worker dies. Return the numbers of the answered writes."""
    answered: list[str] = []
    for number in range(1_000):
        try:
            _ask(url, kind, session_id, number)
        except (URLError, HTTPException, OSError, ValueError):
            return answered
        answered.append(str(number))
    raise AssertionError("nobody killed the runtime")


def _check(answered: list[str], found: dict[str, Any] | None, *, is_turn: bool) -> None:
    """HM-5: Every answered write is stored, at most one other is, and none is stored twice.

    The writes of a turn are stored together or not at all.
    """
    messages: list[str] = [] if found is None else found["messages"]
    assert messages[: len(answered)] == answered
    assert messages[len(answered) :] in ([], [str(len(answered))])
    if is_turn and found is not None:
        assert found["ends"] == messages
        assert set(messages) <= set(found["told"])
        assert (found["usage"], found["checkpoints"]) == (len(messages), len(messages))


def test_homes_survive(tmp_path: Path) -> None:
    """HM-5, HM-7, HM-8: After every kill the homes have every answered write, and the directory becomes right without any call."""
    dice = random.Random()
    answered: dict[str, list[str]] = {}
    with LocalRuntime(CONFIG, persist=tmp_path, ready_path="/migrate") as runtime:
        for number in range(ROUNDS):
            names = {f"r{number}-{place}": kind for place, kind in enumerate(KINDS)}
            with ThreadPoolExecutor(len(KINDS)) as pool:
                works = {name: pool.submit(_work, runtime.url, kind, name) for name, kind in names.items()}
                time.sleep(dice.uniform(1.0, 4.0))  # the moment of the kill is the point
                runtime.kill()
                answered |= {name: work.result() for name, work in works.items()}
            runtime.restart()
            _until_right(runtime.url)
            _ask(runtime.url, "sweep")
            for name, kind in names.items():
                _check(answered[name], _ask(runtime.url, "look", name), is_turn=kind == "turn")
    assert sum(map(len, answered.values())) > ROUNDS


def _until_right(url: str) -> None:
    """Wait until the directory no longer changes, and compare it with the homes, to which no call was made before."""
    before: dict[str, int] = {}
    listed: dict[str, int] = _ask(url, "list")
    end_s = time.monotonic() + PATIENCE_S
    while before != listed and time.monotonic() < end_s:
        time.sleep(3)
        before, listed = listed, _ask(url, "list")
    homes = {name: _ask(url, "look", name) for name in listed}
    assert listed == {name: found["version"] for name, found in homes.items() if found is not None}
