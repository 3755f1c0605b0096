"""The Durable Streams protocol over HTTP, against the example Worker in the real runtime."""

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

import pytest

from tests.end_to_end.durable_client import JSON, Streams, offset
from tests.end_to_end.request_fuzz import random_request
from tests.end_to_end.sse_client import call, events
from tests.lengths import length
from tools.local_runtime import LocalRuntime

pytestmark = pytest.mark.runtime

CONFIG = Path(__file__).parents[2] / "examples/durable_streams/wrangler.toml"
FUZZED = length(300, 12_000)
THREADS = 8
DEEP = "[" * 100_000 + "]" * 100_000
TEXT = {"Content-Type": "text/plain"}
PRODUCER = {"Producer-Id": "p", "Producer-Epoch": "0"}


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRuntime]:
    """Serve the example Worker, whose long-polls wait for two seconds."""
    variables = {"LONG_POLL_S": "2", "SUBSCRIPTIONS": "development"}
    with LocalRuntime(CONFIG, persist=tmp_path_factory.mktemp("durable"), vars=variables) as running:
        yield running


@pytest.fixture
def streams(runtime: LocalRuntime) -> Streams:
    """Return the Worker's streams."""
    return Streams(runtime.url)


def test_create_append_read(streams: Streams) -> None:
    """DS-1, DS-2, DS-5: A stream is created, appended to, and read from any offset."""
    made = streams.create("life", "[1]")
    assert (made.status, made.headers["stream-next-offset"]) == (201, offset(1))
    assert made.headers["location"].endswith("/v1/stream/life")
    assert streams.create("life").status == 200
    assert streams.create("life", headers={"Stream-TTL": "60"}).status == 409
    assert streams.append("life", '[{"a": 2}, [3]]').status == 204
    whole = streams.ask("GET", "life")
    assert (whole.json, whole.headers["stream-up-to-date"]) == ([1, {"a": 2}, [3]], "true")
    assert streams.ask("GET", f"life?offset={offset(1)}").json == [{"a": 2}, [3]]
    assert streams.ask("GET", "life", headers={"If-None-Match": whole.headers["etag"]}).status == 304
    head = streams.ask("HEAD", "life")
    assert (head.status, head.body, head.headers["stream-next-offset"]) == (200, b"", offset(3))


def test_live_by_long_poll(streams: Streams) -> None:
    """DS-6: A long-poll waits for data, and says so if none comes."""
    streams.create("poll")
    started = time.monotonic()
    nothing = streams.ask("GET", f"poll?offset={offset(0)}&live=long-poll")
    assert nothing.status == 204
    assert time.monotonic() - started > 1.5
    assert nothing.headers["stream-cursor"].isdigit()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(streams.ask, "GET", f"poll?offset={offset(0)}&live=long-poll")
        time.sleep(0.3)
        streams.append("poll", "7")
        assert waiting.result().json == [7]


def test_live_by_events(streams: Streams) -> None:
    """DS-7, DS-8: Events have the stored data, the new data and the closure."""
    streams.create("events", "[1]")
    events = streams.events("events?offset=-1&live=sse")
    assert next(events).data == "[1]"
    control = json.loads(next(events).data)
    assert (control["streamNextOffset"], control["upToDate"]) == (offset(1), True)
    streams.append("events", "2", {"Stream-Closed": "true"})
    assert next(events).data == "[2]"
    rest = [json.loads(event.data) for event in events]
    assert rest[-1]["streamClosed"] is True
    assert streams.append("events", "3").headers["stream-closed"] == "true"


def test_text_and_bytes(streams: Streams) -> None:
    """DS-3: Bytes come back unchanged. In events, text stays text and bytes are base64."""
    streams.ask("PUT", "text", "a\r\n b", TEXT)
    streams.ask("POST", "text", "é", TEXT)
    assert streams.ask("GET", "text").body == "a\r\n bé".encode()
    assert next(streams.events("text?offset=-1&live=sse")).data == "a\n bé"
    raw = bytes(range(256)) * 12_000
    streams.ask("PUT", "raw", raw, {"Content-Type": "application/x-any"})
    received, place = b"", "-1"
    while True:
        page = streams.ask("GET", f"raw?offset={place}")
        received, place = received + page.body, page.headers["stream-next-offset"]
        if "stream-up-to-date" in page.headers:
            break
    assert received == raw
    assert next(streams.events(f"raw?offset={offset(0)}&live=sse")).data.startswith("AAEC")


def test_producers_survive_a_crash(streams: Streams, runtime: LocalRuntime) -> None:
    """DS-4: A repeated append of a producer is stored once, also after a crash of the machine in between."""
    streams.create("crash")
    for number in range(3):
        assert streams.append("crash", str(number), {**PRODUCER, "Producer-Seq": str(number)}).status == 200
    runtime.kill()
    runtime.start()
    again = streams.append("crash", "2", {**PRODUCER, "Producer-Seq": "2"})
    assert (again.status, again.headers["producer-seq"]) == (204, "2")
    gap = streams.append("crash", "9", {**PRODUCER, "Producer-Seq": "9"})
    assert (gap.status, gap.headers["producer-expected-seq"]) == (409, "3")
    assert streams.append("crash", "3", {**PRODUCER, "Producer-Seq": "3"}).status == 200
    assert streams.ask("GET", "crash").json == [0, 1, 2, 3]


def test_forks_and_deletion(streams: Streams) -> None:
    """DS-10, DS-11: A fork has the beginning of its source, and survives the source's deletion."""
    streams.create("source", "[1, 2, 3]")
    fork = streams.ask(
        "PUT", "fork", None, {"Stream-Forked-From": "/v1/stream/source", "Stream-Fork-Offset": offset(2)}
    )
    assert fork.status == 201
    assert streams.ask("DELETE", "source").status == 204
    assert streams.ask("GET", "source").status == 410
    assert streams.create("source").status == 409
    streams.append("fork", "4")
    assert streams.ask("GET", "fork").json == [1, 2, 4]
    assert streams.ask("DELETE", "fork").status == 204
    assert streams.ask("GET", "source").status == 404
    assert streams.create("source").status == 201


def test_a_large_fork(streams: Streams) -> None:
    """DS-10: A source that is too large for one call is copied completely."""
    pieces = [json.dumps(["x" * 900_000]) for _ in range(4)]
    streams.create("large")
    for piece in pieces:
        streams.append("large", piece)
    assert streams.ask("PUT", "large-fork", None, {"Stream-Forked-From": "/v1/stream/large"}).status == 201
    sizes, place = 0, "-1"
    for _ in pieces:
        page = streams.ask("GET", f"large-fork?offset={place}")
        sizes, place = sizes + len(page.json), page.headers["stream-next-offset"]
    assert (sizes, place) == (4, offset(4))


def test_both_faces_of_a_stream(streams: Streams, runtime: LocalRuntime) -> None:
    """DS-12: Values without a type reach native readers as messages. The gateway reads the protocol's data."""
    streams.create("faces", '[{"type": "text", "text": "hi"}, 5]')
    answer = call(runtime.url, "GET", "/streams/faces/chunks")
    assert answer.json["chunks"] == [{"type": "text", "text": "hi"}, {"type": "message", "data": 5}]
    frames = events(runtime.url, "/streams/faces/events")
    assert [next(frames).data for _ in range(2)] == answer.json["chunks"]
    streams.append("faces", '"live"')
    assert next(frame for frame in frames if frame.kind == "chunk").data == {"type": "message", "data": "live"}


BadRequest: TypeAlias = tuple[str, str, str | bytes | None, dict[str, str], int, str]

BAD: list[BadRequest] = [
    ("GET", "unknown", None, {}, 404, "stream_not_found"),
    ("HEAD", "unknown", None, {}, 404, ""),
    ("POST", "unknown", "1", JSON, 404, "stream_not_found"),
    ("DELETE", "unknown", None, {}, 404, "stream_not_found"),
    ("PATCH", "open", "1", JSON, 405, "method_not_allowed"),
    ("GET", "open?offset=abc", None, {}, 400, "invalid_argument"),
    ("GET", "open?offset=", None, {}, 400, "invalid_argument"),
    ("GET", "open?offset=-1&offset=-1", None, {}, 400, "invalid_argument"),
    ("GET", f"open?offset={offset(99)}", None, {}, 400, "invalid_offset"),
    ("GET", "open?offset=0000000000000000_0000000000000001", None, {}, 400, "invalid_argument"),
    ("GET", "open?offset=-1&live=maybe", None, {}, 400, "invalid_argument"),
    ("GET", "open?live=sse", None, {}, 400, "invalid_argument"),
    ("POST", "open", "", JSON, 400, "invalid_argument"),
    ("POST", "open", "1", {}, 400, "invalid_argument"),
    ("POST", "open", "1", {"Content-Type": "json"}, 400, "invalid_argument"),
    ("POST", "open", "1", TEXT, 409, "content_type_mismatch"),
    ("POST", "open", "[]", JSON, 400, "empty_array"),
    ("POST", "open", "{", JSON, 400, "invalid_argument"),
    ("POST", "open", "NaN", JSON, 400, "invalid_argument"),
    ("POST", "open", "1e999", JSON, 400, "invalid_argument"),
    ("POST", "open", '"\\ud800"', JSON, 400, "invalid_argument"),
    ("POST", "open", b"\xff", JSON, 400, "invalid_argument"),
    ("POST", "open", "9" * 5_000, JSON, 400, "invalid_argument"),
    ("POST", "open", DEEP, JSON, 400, "invalid_argument"),
    ("POST", "open", '{"a":' * 100_000, JSON, 400, "invalid_argument"),
    ("POST", "open", '"\\"' * 500_000 + "[" * 300, JSON, 400, "invalid_argument"),
    ("POST", "open", '"' + "x" * 10_000_000 + '"', JSON, 413, "body_too_large"),
    ("POST", "open", '"' + "x" * 2_500_000 + '"', JSON, 413, "stream_chunk_too_large"),
    ("POST", "open", "[" + "[]," * 350_000 + "1]", JSON, 413, "body_too_large"),
    ("POST", "text-bad", "x" * 17_000_000, TEXT, 413, "body_too_large"),
    ("POST", "open", "1", {**JSON, "Producer-Id": "p"}, 400, "invalid_argument"),
    ("POST", "open", "1", {**JSON, **PRODUCER, "Producer-Seq": "1.0"}, 400, "invalid_argument"),
    ("POST", "open", "1", {**JSON, **PRODUCER, "Producer-Seq": "9" * 30}, 400, "invalid_argument"),
    ("POST", "closed", "1", JSON, 409, "stream_closed"),
    ("PUT", "new", None, {"Stream-TTL": "-1"}, 400, "invalid_argument"),
    ("PUT", "new", None, {"Stream-TTL": "1e3"}, 400, "invalid_argument"),
    ("PUT", "new", None, {"Stream-TTL": "9" * 40}, 400, "invalid_argument"),
    ("PUT", "new", None, {"Stream-Expires-At": "tomorrow"}, 400, "invalid_argument"),
    ("PUT", "new", None, {"Stream-Expires-At": "0000-00-00T00:00:00Z"}, 400, "invalid_argument"),
    ("PUT", "new", None, {"Stream-Fork-Offset": "-1"}, 400, "invalid_argument"),
    ("PUT", "new", None, {"Stream-Forked-From": "/elsewhere"}, 400, "invalid_argument"),
    ("PUT", "new", None, {"Stream-Forked-From": "/v1/stream/unknown"}, 404, "stream_not_found"),
    ("PUT", "", None, {}, 400, "invalid_argument"),
    ("PUT", "%ff", None, {}, 400, "invalid_argument"),
    ("PUT", "__reserved", None, {}, 400, "invalid_argument"),
    ("PUT", "n" * 600, None, {}, 400, "invalid_argument"),
    ("GET", "__ds/subscriptions/none", None, {}, 404, "SUBSCRIPTION_NOT_FOUND"),
    ("PUT", "__ds/subscriptions/s", "[]", JSON, 400, "invalid_argument"),
    ("PUT", "__ds/subscriptions/s", DEEP, JSON, 400, "invalid_argument"),
    ("POST", "__ds/subscriptions/s/ack", "{}", JSON, 401, "INVALID_TOKEN"),
]


@pytest.fixture(scope="module")
def with_streams(runtime: LocalRuntime) -> Streams:
    """Streams to be wrong about."""
    streams = Streams(runtime.url)
    streams.create("open", "[1]")
    streams.create("closed", "[1]", {"Stream-Closed": "true"})
    streams.ask("PUT", "text-bad", "", TEXT)
    return streams


@pytest.mark.parametrize("case", BAD, ids=lambda case: f"{case[0]} {case[1][:40]} {case[4]}")
def test_bad_input(with_streams: Streams, case: BadRequest) -> None:
    """DS-13: Bad input gets the right status and a JSON error. Nothing is stored, and the isolate lives."""
    method, path, body, headers, status, code = case
    answer = with_streams.ask(method, path, body, headers)
    assert answer.status == status, answer.body
    assert answer.headers["x-content-type-options"] == "nosniff"
    if method != "HEAD":
        assert answer.json["error"]["code"] == code
    assert with_streams.ask("GET", "open").json == [1]


@pytest.mark.parametrize("size", [1_000, 3_000_000])
@pytest.mark.parametrize("is_chunked", [True, False], ids=["chunked", "declared"])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_body_that_breaks_off(streams: Streams, method: str, is_chunked: bool, size: int) -> None:
    """DS-13: nothing of it is stored, with or without a declared length; the same body sent whole is."""
    path = f"breaks-off-{method}-{is_chunked}-{size}"
    if method == "POST":
        assert streams.ask("PUT", path, "before ", TEXT).status == 201
    length = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {size}"
    piece = b"x" * (size // 2)
    head = f"{method} /v1/stream/{path} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n{length}\r\n\r\n"
    address = urlsplit(streams.url)
    with socket.create_connection((address.hostname or "", address.port or 80), timeout=30) as connection:
        connection.sendall(head.encode() + (b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece))
        time.sleep(0.5)  # the first half is on its way, through the Worker to the object
    for _ in range(5):
        time.sleep(0.2)
        answer = streams.ask("GET", path)
        assert (answer.status, answer.body) == ((200, b"before ") if method == "POST" else (404, answer.body))
    pieces = [piece, piece] if is_chunked else piece * 2
    sent = call(streams.url, method, f"/v1/stream/{path}", body=pieces, headers=TEXT)
    assert sent.status == (204 if method == "POST" else 201)
    page = streams.ask("GET", path)
    whole = page.body
    while "stream-up-to-date" not in page.headers:
        page = streams.ask("GET", f"{path}?offset={page.headers['stream-next-offset']}")
        whole += page.body
    assert whole == (b"before " if method == "POST" else b"") + piece * 2


def test_a_body_without_a_length_that_is_too_long(streams: Streams) -> None:
    """DS-13: 413 after the whole body, also when much of it is over the limit, and nothing is stored; the largest one is taken."""
    assert streams.create("long", headers=TEXT).status == 201
    piece = b"x" * 1024 * 1024
    for over in ([b"x"], [piece] * 16):
        assert streams.append_pieces("long", iter([piece] * 16 + over), TEXT).status == 413
    assert streams.ask("GET", "long").body == b""
    assert streams.append_pieces("long", iter([piece] * 16), TEXT).status == 204


def test_random_requests(with_streams: Streams, runtime: LocalRuntime) -> None:
    """DS-13: No request gets a 5xx, and every refusal is a JSON error."""

    def ask(seed: int) -> None:
        method, path, body, headers = random_request(seed)
        answer = with_streams.ask(method, path, body, headers)
        is_overload = answer.status == 503 and "retry-after" in answer.headers
        assert answer.status < 500 or is_overload, (seed, method, path, headers, answer.body[:500])
        if answer.status >= 400 and method != "HEAD":
            assert answer.json["error"]["code"], (seed, answer.body[:200])

    start = time.time_ns() % 1_000_000_000
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(ask, range(start, start + FUZZED)))
    assert "Traceback" not in runtime.log().read_text(errors="replace")
