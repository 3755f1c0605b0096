"""SIGKILL at random moments while sessions are being written: whatever was answered is in the database, once and in order."""

import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.lengths import rounds
from tools.local_runtime import LocalRuntime, wrangler

pytestmark = pytest.mark.runtime

CONFIG = Path(__file__).parents[2] / "examples/quickstart/wrangler.toml"
ROUNDS = rounds(2, 40)
SESSIONS = 4
STORED = (
    "SELECT session_id, json_extract(message, '$.content') AS said FROM __agents_messages ORDER BY session_id, sequence"
)


def _talk(url: str, session_id: str) -> list[str]:
    """Add messages one by one until the Worker dies. Return the answered ones, in order."""
    answered: list[str] = []
    for number in range(1_000):
        said = f"{session_id}-{number}"
        try:
            with urlopen(f"{url}/?session={session_id}&say={said}", timeout=30) as response:
                answer = json.load(response)
        except (URLError, HTTPException, OSError, ValueError):
            return answered
        answered.append(said)
        assert [message["content"] for message in answer["messages"]] == answered
    raise AssertionError("nobody killed the runtime")


def _stored(persist: Path) -> dict[str, list[str]]:
    arguments = ("d1", "execute", "AGENT_DB", "--local", "--json", "--command", STORED)
    [result] = json.loads(wrangler(*arguments, config=CONFIG, persist=persist))
    stored: dict[str, list[str]] = {}
    for row in result["results"]:
        stored.setdefault(row["session_id"], []).append(row["said"])
    return stored


def test_what_was_answered_survives(tmp_path: Path) -> None:
    """ST-7, ST-8: After every kill each session has every answered message, at most one other, and none twice."""
    dice = random.Random()
    answered: dict[str, list[str]] = {}
    with LocalRuntime(CONFIG, persist=tmp_path, ready_path="/?session=warm-up") as runtime:
        for number in range(ROUNDS):
            with ThreadPoolExecutor(SESSIONS) as pool:
                names = [f"r{number}s{session}" for session in range(SESSIONS)]
                talks = {name: pool.submit(_talk, runtime.url, name) for name in names}
                time.sleep(dice.uniform(0.2, 2.0))  # the moment of the kill is the point
                runtime.kill()
                answered |= {name: talk.result() for name, talk in talks.items()}
            stored = _stored(tmp_path)
            for name, said in answered.items():
                kept = stored.get(name, [])
                assert kept[: len(said)] == said
                assert kept[len(said) :] in ([], [f"{name}-{len(said)}"])
            runtime.restart()
    assert sum(map(len, answered.values())) > ROUNDS
