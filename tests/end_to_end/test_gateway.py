"""The gateway in the real runtime: its wires, who may read, and an object that sleeps under an open WebSocket."""

import json
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tests.end_to_end.socket_client import SocketClient, SocketRefusedError
from tests.end_to_end.sse_client import call, events
from tools.local_runtime import LocalRuntime

pytestmark = pytest.mark.runtime

CONFIG = Path(__file__).with_name("gateway_worker") / "wrangler.toml"
ADA = {"x-user": "ada"}
SLEEP_S = 60.0


@pytest.fixture(scope="module")
def worker() -> Iterator[LocalRuntime]:
    """The test Worker."""
    with LocalRuntime(CONFIG) as runtime:
        yield runtime


@pytest.fixture
def stream() -> str:
    """Return a stream for this test only."""
    return f"stream {uuid.uuid4().hex[:12]}/ü"


def _path(stream: str) -> str:
    return f"/streams/{quote(stream, safe='')}"


def _do(worker: LocalRuntime, verb: str, stream: str, **query: object) -> Any:
    answer = call(worker.url, "POST", f"/{verb}?{urlencode({'stream': stream, **query})}")
    assert answer.status == 200, answer.body
    return answer.json


def _write(worker: LocalRuntime, stream: str, *, first: int, count: int = 1, size: int = 0) -> int:
    return int(_do(worker, "write", stream, first=first, count=count, size=size))


def test_the_wires_tell_the_same(worker: LocalRuntime, stream: str) -> None:
    """GW-2, GW-3, GW-4, GW-5: Events, WebSocket and pages of one stream give the same chunks, live and to its end."""
    _write(worker, stream, first=1, count=2)
    with SocketClient(worker.url, f"{_path(stream)}/socket?from=1", headers=ADA) as socket:
        received = socket.frames()
        _write(worker, stream, first=3)
        received += socket.frames()
        _do(worker, "end", stream)
        while frames := socket.frames():
            received += frames
        assert socket.close_code == 1000
    followed = list(events(worker.url, f"{_path(stream)}/events?from=0", headers={**ADA, "last-event-id": "1"}))
    assert [(each["event"], each.get("id", 0)) for each in received] == [
        *(("chunk", 2), ("caught-up", 0), ("chunk", 3), ("end", 0))
    ]
    assert [(each.kind, each.sequence) for each in followed] == [
        *(("chunk", 2), ("chunk", 3), ("caught-up", 0), ("end", 0))
    ]
    chunks = [each["data"] for each in received if each["event"] == "chunk"]
    assert chunks == [each.data for each in followed if each.kind == "chunk"]
    page = call(worker.url, "GET", f"{_path(stream)}/chunks?from=1&wait=5", headers=ADA).json
    assert (page["chunks"], page["status"], page["output"]) == (chunks, "ended", {"done": True})
    info = call(worker.url, "GET", _path(stream), headers=ADA).json
    assert (info["streamId"], info["lastSequence"], info["output"]) == (stream, 3, {"done": True})
    head = call(worker.url, "HEAD", f"{_path(stream)}/events", headers=ADA)
    assert (head.status, head.headers["content-type"], head.body) == (200, "text/event-stream; charset=utf-8", b"")


def test_the_managers_own_response(worker: LocalRuntime, stream: str) -> None:
    """SM-25: `sse_response` without a gateway gives the same events, and resumes. An unknown stream is 404."""
    _write(worker, stream, first=1, count=3)
    _do(worker, "end", stream)
    path = f"/manager?{urlencode({'stream': stream})}"
    followed = list(events(worker.url, path, headers={"last-event-id": "2"}))
    assert [(each.kind, each.sequence) for each in followed] == [("chunk", 3), ("caught-up", 0), ("end", 0)]
    missing = call(worker.url, "GET", "/manager?stream=nobody")
    assert (missing.status, missing.json["error"]["code"]) == (404, "stream_not_found")


def test_a_page_waits_for_the_next_chunk(worker: LocalRuntime, stream: str) -> None:
    """GW-4: The answer comes when the chunk comes."""
    _write(worker, stream, first=1)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(call, worker.url, "GET", f"{_path(stream)}/chunks?from=1&wait=15", headers=ADA)
        time.sleep(0.5)
        assert not waiting.done()
        _write(worker, stream, first=2)
        assert [chunk["n"] for chunk in waiting.result().json["chunks"]] == [2]


def test_an_object_sleeps_under_an_open_socket(worker: LocalRuntime, stream: str) -> None:
    """GW-10: An idle object is built again, and the same socket, which only pings meanwhile, receives the next chunks."""
    _write(worker, stream, first=1)
    with SocketClient(worker.url, f"{_path(stream)}/socket", headers=ADA) as socket:
        assert [frame["event"] for frame in socket.frames()] == ["chunk", "caught-up"]
        constructed = _do(worker, "constructions", stream)
        last = 1
        deadline = time.monotonic() + SLEEP_S
        while _do(worker, "constructions", stream) == constructed:
            assert time.monotonic() < deadline, "the object did not sleep"
            for _ in range(6):  # twelve idle seconds, in which the client pings
                socket.send("ping")
                assert socket.message() == "pong"
                time.sleep(2)
            last += 1
            _write(worker, stream, first=last)
            [frame] = socket.frames()
            assert (frame["event"], frame["id"], frame["data"]["n"]) == ("chunk", last, last)
        _do(worker, "end", stream)
        assert [frame["event"] for frame in socket.frames()] == ["end"]
        assert socket.message() is None
        assert socket.close_code == 1000


def test_a_socket_that_owes_an_ack(worker: LocalRuntime, stream: str) -> None:
    """GW-11: A backlog of 2 MB comes completely, in order, one window at a time."""
    for first in range(1, 41, 10):
        _write(worker, stream, first=first, count=10, size=50_000)
    _do(worker, "end", stream)
    numbers: list[int] = []
    acks = 0
    with SocketClient(worker.url, f"{_path(stream)}/socket", headers=ADA) as socket:
        while frames := socket.frames():
            numbers += [frame["data"]["n"] for frame in frames if frame["event"] == "chunk"]
            if frames[-1]["event"] == "ack":
                acks += 1
                socket.send("ack")
    assert numbers == list(range(1, 41))
    assert 5 <= acks <= 40


def test_who_may_not_read(worker: LocalRuntime, stream: str) -> None:
    """GW-7, GW-8, GW-9: A refusal is 403 as JSON on every wire. A signed path admits, and other origins can read the refusal."""
    _write(worker, stream, first=1)
    for path in ("", "/events", "/chunks"):
        answer = call(worker.url, "GET", _path(stream) + path)
        assert (answer.status, answer.json["error"]["code"]) == (403, "forbidden")
    broken = call(worker.url, "GET", "/streams/broken/events", headers=ADA)
    assert (broken.status, b"cannot say" in broken.body) == (403, False)
    with pytest.raises(SocketRefusedError) as refused:
        SocketClient(worker.url, f"{_path(stream)}/socket")
    assert (refused.value.status, json.loads(refused.value.body)["error"]["code"]) == (403, "forbidden")
    with pytest.raises(SocketRefusedError):
        SocketClient(worker.url, f"{_path(stream)}/socket", headers={**ADA, "Origin": "https://evil.example"})
    first = next(events(worker.url, _do(worker, "sign", stream, wire="events")))
    assert (first.kind, first.sequence) == ("chunk", 1)
    with SocketClient(worker.url, _do(worker, "sign", stream, wire="socket")) as socket:
        assert socket.frames()[0]["id"] == 1


def test_open_connections_end_with_their_permission(worker: LocalRuntime, stream: str) -> None:
    """GW-9: What is written after a signed path has expired reaches no connection that it opened."""
    _write(worker, stream, first=1)
    socket_path, events_path = (_do(worker, "sign", stream, wire=wire, expires_in=8) for wire in ("socket", "events"))
    followed = events(worker.url, events_path)
    with SocketClient(worker.url, socket_path) as socket:
        assert [next(followed).kind for _ in range(2)] == ["chunk", "caught-up"]
        assert [frame["event"] for frame in socket.frames()] == ["chunk", "caught-up"]
        deadline = time.monotonic() + 60
        while call(worker.url, "GET", events_path.replace("/events", "")).status == 200:
            assert time.monotonic() < deadline, "the path did not expire"
            time.sleep(0.1)
        _write(worker, stream, first=2)
        assert socket.message() is None
        assert socket.close_code == 1008
    assert not list(followed)


def test_other_origins(worker: LocalRuntime, stream: str) -> None:
    """GW-8: Events, pages and errors carry the CORS headers. A preflight needs no permission."""
    _write(worker, stream, first=1)
    _do(worker, "end", stream)
    origin = {"origin": "https://app.example"}
    for path, status in (("/events", 200), ("/chunks", 200), ("/x", 404)):
        answer = call(worker.url, "GET", _path(stream) + path, headers={**ADA, **origin})
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert answer.headers["vary"] == "Origin"
    preflight = call(worker.url, "OPTIONS", f"{_path(stream)}/events", headers=origin)
    assert preflight.status == 204
    assert "last-event-id" in preflight.headers["access-control-allow-headers"]
    other = call(worker.url, "GET", f"{_path(stream)}/events", headers={**ADA, "origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


def test_bad_requests(worker: LocalRuntime, stream: str) -> None:
    """GW-6: A bad request gets the right status and a JSON error, also through the object."""
    _write(worker, stream, first=1)
    for method, path, status, code in (
        ("GET", "/streams/nobody/events", 404, "stream_not_found"),
        ("GET", f"{_path(stream)}/events?from=2", 409, "sequence_conflict"),
        ("GET", f"{_path(stream)}/events?from=x", 400, "invalid_argument"),
        ("GET", f"{_path(stream)}/chunks?wait=99", 400, "invalid_argument"),
        ("GET", "/streams/%ff/events", 400, "invalid_argument"),
        ("GET", f"{_path(stream)}/socket", 426, "upgrade_required"),
        ("POST", f"{_path(stream)}/events", 405, "method_not_allowed"),
        ("GET", f"{_path(stream)}/x", 404, "not_found"),
    ):
        answer = call(worker.url, method, path, headers=ADA)
        assert (path, answer.status, answer.json["error"]["code"]) == (path, status, code)
    with pytest.raises(SocketRefusedError) as refused:
        SocketClient(worker.url, "/streams/nobody/socket", headers=ADA)
    assert (refused.value.status, json.loads(refused.value.body)["error"]["code"]) == (404, "stream_not_found")
