"""examples/langgraph_agent in the real runtime: tools, an interrupt, a killed server, time travel, two runs at once, its memory."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from tools.local_runtime import LocalRuntime

pytestmark = pytest.mark.runtime

TIMEOUT_S = 120
CONFIG = Path(__file__).parents[2] / "examples/langgraph_agent/wrangler.toml"


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRuntime]:
    with LocalRuntime(CONFIG, persist=tmp_path_factory.mktemp("state"), ready_path="/trips") as runtime:
        yield runtime


def _get(runtime: LocalRuntime, path: str, **query: str) -> Any:
    with urlopen(f"{runtime.url}/{path}?{urlencode(query)}", timeout=TIMEOUT_S) as response:
        return json.load(response)


def test_a_question_waits_through_a_kill(runtime: LocalRuntime) -> None:
    """LG-1, LG-16: the run stops before it books; another process goes on with the answer; the memory has the trip."""
    assert _get(runtime, "ask", thread="kill", say="Oslo") == {"said": ["Oslo"], "waitsFor": ["book Oslo for 120?"]}
    assert "Oslo" not in _get(runtime, "trips")
    runtime.kill()
    runtime.restart()
    assert _get(runtime, "answer", thread="kill", say="yes") == {
        "said": ["Oslo", "Oslo is booked for 120."],
        "waitsFor": [],
    }
    assert _get(runtime, "trips")["Oslo"] == 120


def test_a_way_back_in_time(runtime: LocalRuntime) -> None:
    """LG-1: from the checkpoint of the question the run ends otherwise; both endings stay."""
    _get(runtime, "ask", thread="back", say="Rome")
    first = _get(runtime, "answer", thread="back", say="no")["said"]
    asked = [each for each in _get(runtime, "history", thread="back") if each["next"] == ["tools"]]
    again = _get(runtime, "back", thread="back", to=asked[0]["checkpoint"])
    assert (first[-1], again["waitsFor"]) == ("Rome is not booked.", ["book Rome for 80?"])
    assert _get(runtime, "answer", thread="back", say="yes")["said"] == ["Rome", "Rome is booked for 80."]
    endings = [each for each in _get(runtime, "history", thread="back") if not each["next"]]
    assert [each["messages"] for each in endings] == [6, 6]


def test_threads_and_turns(runtime: LocalRuntime) -> None:
    """LG-4: runs of one thread take turns under its lock, and lose nothing; another thread is another story."""
    cities = [f"city {number}" for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(_get, runtime, "ask", thread="many", say=city) for city in cities]
    assert all(each.result()["waitsFor"] == [] for each in asked)
    said = _get(runtime, "ask", thread="many", say="Mars")["said"]
    assert sorted(said[0:8:2]) == cities
    assert said[1:8:2] == [f"nobody flies to {city}." for city in said[0:8:2]]
    assert _get(runtime, "history", thread="nobody") == []


def test_what_is_not_there(runtime: LocalRuntime) -> None:
    """Another path is refused by name."""
    with pytest.raises(HTTPError) as raised:
        _get(runtime, "else")
    assert (raised.value.code, json.load(raised.value)["error"]["code"]) == (400, "invalid_argument")
