"""A turn in five places of the real runtime: each runs it once, whatever is retried."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from tools.local_runtime import LocalRuntime

pytestmark = pytest.mark.runtime

CONFIG = Path(__file__).parent / "turn_places_worker/wrangler.toml"
ANSWERED = ["question t", "answer t"]
PATIENCE_S = 60


@pytest.fixture(scope="module")
def worker() -> Iterator[LocalRuntime]:
    """The Worker of all places."""
    with LocalRuntime(CONFIG, ready_path="/?op=migrate") as runtime:
        yield runtime


def _get(worker: LocalRuntime, path: str) -> str:
    with urlopen(f"{worker.url}{path}", timeout=PATIENCE_S) as response:
        return str(response.read().decode())


def _answered(worker: LocalRuntime, session: str) -> dict[str, Any]:
    """Return the session's report as soon as it has an answer."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        report: dict[str, Any] | None = json.loads(_get(worker, f"/?session={session}"))
        if report is not None and "completed" in report["runs"] and "turn-end" in report["ends"]:
            return report
        assert time.monotonic() < deadline_s, (report, worker.log().read_text()[-3_000:])
        time.sleep(0.2)


def test_a_client_that_goes_away(worker: LocalRuntime) -> None:
    """With `waitUntil` the turn runs to its end after its client has gone."""
    url = urlsplit(worker.url)
    with socket.create_connection((str(url.hostname), int(url.port or 0))) as connection:
        connection.sendall(b"GET /?op=fetch&session=gone HTTP/1.1\r\nHost: localhost\r\n\r\n")
        deadline_s = time.monotonic() + PATIENCE_S
        while _get(worker, "/?session=gone") == "null":  # until the turn has begun
            assert time.monotonic() < deadline_s
    report = _answered(worker, "gone")
    assert report == {"messages": ANSWERED, "runs": ["completed"], "ends": ["turn-end"]}


def test_a_queue_consumer(worker: LocalRuntime) -> None:
    """TU-8: A message that is delivered twice, or again after a failure, has one turn that succeeds."""
    _get(worker, "/?op=queue&session=queued")
    report = _answered(worker, "queued")
    assert report == {
        "messages": ANSWERED,
        "runs": ["failed", "completed"],
        "ends": ["turn-failed", "turn-end"],
    }


def test_a_cron_trigger(worker: LocalRuntime) -> None:
    """TU-8: A trigger that fires again finds that its turn has ended."""
    for _ in range(2):
        _get(worker, "/cdn-cgi/local/scheduled")
    assert _answered(worker, "scheduled") == {"messages": ANSWERED, "runs": ["completed"], "ends": ["turn-end"]}


def test_a_durable_object(worker: LocalRuntime) -> None:
    """TU-8: A user's own object runs turns as a Worker does."""
    assert [_get(worker, "/?op=room&session=room") for _ in range(2)] == ["now", "before"]
    assert _answered(worker, "room") == {"messages": ANSWERED, "runs": ["completed"], "ends": ["turn-end"]}


def test_a_workflow_step(worker: LocalRuntime) -> None:
    """TU-8: A step that is retried with the same turn id has one turn that succeeds."""
    _get(worker, "/?op=workflow&session=flow")
    report = _answered(worker, "flow")
    assert report == {
        "messages": ANSWERED,
        "runs": ["failed", "completed"],
        "ends": ["turn-failed", "turn-end"],
    }
