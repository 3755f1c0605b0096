"""The gateway on CPython: requests as values, streams in process."""

import asyncio
import json
import logging
from typing import Any

import pytest

from agents_store_cloudflare import (
    CorsPolicy,
    DurableObjectStreamManager,
    HttpRequest,
    HttpResponse,
    InvalidArgumentError,
    StreamGateway,
    StreamObject,
    StreamTruncatedError,
    StreamUrlSigner,
)
from agents_store_cloudflare.objects import ObjectCallError
from agents_store_cloudflare.testing import FakeClock, LocalObjects

HOST = "https://chat.example"


def _yes(*_asked: object) -> bool:
    return True


def _no(*_asked: object) -> bool:
    return False


def _broken(*_asked: object) -> bool:
    raise AssertionError("nobody is to be asked")


class Site:
    """A gateway at /streams, its streams, and a record of the questions to `authorize`."""

    def __init__(self, **options: Any) -> None:
        self.clock = FakeClock()
        self.objects = LocalObjects(StreamObject, clock=self.clock)
        self.manager = DurableObjectStreamManager(self.objects)
        chosen: dict[str, Any] = {"authorize": _yes, **options}
        self.gateway = StreamGateway(self.objects, **chosen)

    async def write(self, *numbers: int, stream_id: str = "s") -> None:
        async with self.manager.create_writer(stream_id, "a", "t") as writer:
            for number in numbers:
                await writer.write({"type": "text", "n": number, "agentId": "a", "agentType": "t", "timestamp": 0})

    async def ask(self, path: str, method: str = "GET", **headers: str) -> HttpResponse:
        request = HttpRequest(
            method=method, url=f"{HOST}{path}", headers={name.replace("_", "-"): text for name, text in headers.items()}
        )
        answer = await self.gateway.handle(request)
        assert isinstance(answer, HttpResponse), answer
        return answer


def body(answer: HttpResponse) -> Any:
    assert isinstance(answer.body, str)
    assert answer.headers["content-type"].startswith("application/json")
    return json.loads(answer.body)


def refusal(answer: HttpResponse) -> tuple[int, str]:
    error = body(answer)["error"]
    assert error.keys() == {"code", "message"}
    return answer.status, error["code"]


def read(answer: HttpResponse) -> str:
    source: Any = answer.body
    return str(source.read())


def frames(socket: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for message in socket.messages for line in message.split("\n")]


async def test_what_is_not_below_the_prefix_is_not_its_own() -> None:
    """GW-1: A path outside the prefix gives None, and `authorize` is not asked."""
    site = Site(prefix="/live/v1")
    for path in ("/", "/live", "/live/v", "/live/v1x/s/events", "/streams/s/events", "//live/v1/s"):
        assert await site.gateway.handle(HttpRequest(url=HOST + path)) is None
    assert await site.gateway.handle(HttpRequest(url="https://[::1/live/v1/s")) is None
    await site.write(1)
    assert (await site.ask("/live/v1/s")).status == 200


@pytest.mark.parametrize("prefix", ["", "/", "streams", "/streams/", "/str eams", "/ü", "/a?b", "/a#b"])
def test_a_prefix_is_a_path(prefix: str) -> None:
    """GW-1: A gateway with a prefix that is no path cannot be made."""
    with pytest.raises(InvalidArgumentError, match="prefix"):
        StreamGateway(LocalObjects(StreamObject), prefix=prefix, authorize=_yes)


async def test_events_resume() -> None:
    """GW-2: Server-Sent Events after Last-Event-ID, which wins over ?from=."""
    site = Site()
    await site.write(1, 2, 3)
    await site.manager.end_stream("s", {"done": 1.0})
    answer = await site.ask("/streams/s/events?from=1", Last_Event_ID="2")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    events = read(answer)
    assert events.startswith("id: 3\nevent: chunk\n")
    assert events.endswith('event: end\ndata: {"status":"completed","output":{"done":1.0}}\n\n')
    assert read(await site.ask("/streams/s/events?from=1")).startswith("id: 2\n")
    assert read(await site.ask("/streams/s/events?from=1", last_event_id="")).startswith("id: 2\n")


async def test_sockets_send_the_same_frames() -> None:
    """GW-3: over a WebSocket, a JSON object a line; ?from= resumes; the end closes with 1000."""
    site = Site()
    await site.write(1, 2)
    answer = await site.ask("/streams/s/socket?from=1", upgrade="WebSocket")
    assert answer.status == 101
    socket: Any = answer.web_socket
    await site.write(3)
    await site.manager.end_stream("s", "out")
    assert [(frame["event"], frame.get("id")) for frame in frames(socket)] == [
        *(("chunk", 2), ("caught-up", None), ("chunk", 3), ("end", None))
    ]
    assert frames(socket)[0]["data"]["n"] == 2
    assert frames(socket)[-1]["data"] == {"status": "completed", "output": "out"}
    assert socket.close_code == 1000


async def test_a_page_of_chunks() -> None:
    """GW-4: Stored chunks come at once. The last page of an ended stream has the outcome."""
    site = Site()
    await site.write(1, 2, 3)
    page = body(await site.ask("/streams/s/chunks?from=1"))
    assert [chunk["n"] for chunk in page.pop("chunks")] == [2, 3]
    assert page == {"status": "active", "sequence": 3, "lastSequence": 3}
    empty = body(await site.ask("/streams/s/chunks?from=3"))
    assert empty == {"status": "active", "sequence": 3, "lastSequence": 3, "chunks": []}
    await site.manager.end_stream("s", {"b": 1.0, "a": None}, status="stopped")
    last = await site.ask("/streams/s/chunks?from=2&wait=60")
    assert '"output":{"b":1.0,"a":null}' in str(last.body)
    ended = body(last)
    assert [chunk["n"] for chunk in ended.pop("chunks")] == [3]
    expected = {"status": "ended", "endStatus": "stopped", "output": {"b": 1.0, "a": None}, "error": None}
    assert ended == {**expected, "sequence": 3, "lastSequence": 3}
    await site.write(1, stream_id="broken")
    await site.manager.fail_stream("broken", "no")
    failed = body(await site.ask("/streams/broken/chunks?from=1"))
    assert (failed["status"], failed["error"], failed["chunks"]) == ("failed", "no", [])


async def test_a_page_waits_for_the_next_chunk() -> None:
    """GW-4: with ?wait= the page comes with the first new chunk, or empty when the time is up."""
    site = Site()
    await site.write(1)
    waiting = asyncio.ensure_future(site.ask("/streams/s/chunks?from=1&wait=20.5"))
    await site.clock.advance(20)
    assert not waiting.done()
    await site.write(2)
    assert [chunk["n"] for chunk in body(await waiting)["chunks"]] == [2]
    idle = asyncio.ensure_future(site.ask("/streams/s/chunks?from=2&wait=20.5"))
    await site.clock.advance(20.6)
    assert idle.done()
    assert body(await idle)["chunks"] == []


async def test_a_stream_as_it_stands() -> None:
    """GW-5: The info comes as JSON, with the output exactly as its writer encoded it."""
    site = Site()
    await site.write(1, stream_id="a b/ü")
    await site.manager.end_stream("a b/ü", {"x": 1.0})
    answer = await site.ask("/streams/a%20b%2F%C3%BC")
    info = body(answer)
    assert (info["streamId"], info["lastSequence"], info["status"]) == ("a b/ü", 1, "ended")
    assert '"output":{"x":1.0}' in str(answer.body)


async def test_a_page_below_the_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    """GW-13: A page below the oldest kept chunk is 410, and its text has the oldest kept number."""
    site = Site()
    await site.write(1)

    def truncated(*_arguments: object, **_options: object) -> None:
        raise StreamTruncatedError("s", from_sequence=0, first_sequence=3)

    monkeypatch.setattr("agents_store_cloudflare.streams.log.StreamLog.read", truncated)
    answer = await site.ask("/streams/s/chunks?from=1")
    assert refusal(answer) == (410, "stream_truncated")
    assert "from_sequence=2" in str(answer.body)


async def test_who_has_nothing_begins_with_the_oldest_chunk_kept() -> None:
    """GW-13: Without a position, or with 0, every wire begins with the oldest kept chunk. A client that has chunk 1 hears of the gap."""
    site = Site()
    await site.write(1, 2, 3)
    await site.manager.truncate_stream("s", 3)
    for query in ("", "?from=0"):
        page = body(await site.ask(f"/streams/s/chunks{query}"))
        assert (page["sequence"], [chunk["n"] for chunk in page["chunks"]]) == (3, [3])
        events = read(await site.ask(f"/streams/s/events{query}"))
        assert events.startswith("id: 3\nevent: chunk\n")
        assert "truncated" not in events
    assert refusal(await site.ask("/streams/s/chunks?from=1")) == (410, "stream_truncated")
    assert "event: truncated" in read(await site.ask("/streams/s/events?from=1"))
    await site.manager.truncate_stream("s", 4)
    page = body(await site.ask("/streams/s/chunks"))
    assert (page["sequence"], page["chunks"]) == (3, [])


async def test_head_says_what_get_would() -> None:
    """GW-5: HEAD gives status and type without a body. It leaves no listener and never waits."""
    site = Site()
    await site.write(1)
    head = await site.ask("/streams/s/events", "HEAD")
    assert (head.status, head.headers["content-type"], head.body) == (200, "text/event-stream; charset=utf-8", None)
    head = await site.ask("/streams/s/chunks?from=1&wait=60", "HEAD")
    assert (head.status, head.body) == (200, None)
    for path, status in (
        *(("/streams/s", 200), ("/streams/no", 404), ("/streams/no/events", 404), ("/streams/s/events?from=2", 409)),
        *(("/streams/s/events?from=x", 400), ("/streams/s/socket", 426), ("/streams/s/x", 404)),
    ):
        head = await site.ask(path, "HEAD")
        assert (path, head.status, head.body) == (path, status, None)
    site.objects.hibernate()


BAD: dict[str, tuple[str, str, dict[str, str], int, str]] = {
    "no stream": ("GET", "/streams", {}, 404, "not_found"),
    "no id": ("GET", "/streams/", {}, 404, "not_found"),
    "an unknown wire": ("GET", "/streams/s/carrier-pigeon", {}, 404, "not_found"),
    "a wire with two names": ("GET", "/streams/s/info", {}, 404, "not_found"),
    "too deep": ("GET", "/streams/s/events/1", {}, 404, "not_found"),
    "an unknown stream": ("GET", "/streams/no/events", {}, 404, "stream_not_found"),
    "an unknown stream's socket": ("GET", "/streams/no/socket", {"upgrade": "websocket"}, 404, "stream_not_found"),
    "an unknown stream's chunks": ("GET", "/streams/no/chunks?wait=5", {}, 404, "stream_not_found"),
    "an unknown stream's info": ("GET", "/streams/no", {}, 404, "stream_not_found"),
    "above the last": ("GET", "/streams/s/events?from=2", {}, 409, "sequence_conflict"),
    "above the last, socket": ("GET", "/streams/s/socket?from=2", {"upgrade": "websocket"}, 409, "sequence_conflict"),
    "above the last, chunks": ("GET", "/streams/s/chunks?from=2&wait=60", {}, 409, "sequence_conflict"),
    "an id that is not UTF-8": ("GET", "/streams/%ff/events", {}, 400, "invalid_argument"),
    "a reserved id": ("GET", "/streams/__x/events", {}, 400, "invalid_argument"),
    "a control character": ("GET", "/streams/a%0Ab/events", {}, 400, "invalid_argument"),
    "a long id": ("GET", f"/streams/{'x' * 513}", {}, 400, "invalid_argument"),
    "no number": ("GET", "/streams/s/events?from=x", {}, 400, "invalid_argument"),
    "an empty number": ("GET", "/streams/s/chunks?from=", {}, 400, "invalid_argument"),
    "no number in the header": ("GET", "/streams/s/events?from=1", {"last-event-id": "1a"}, 400, "invalid_argument"),
    "a long wait": ("GET", "/streams/s/chunks?wait=61", {}, 400, "invalid_argument"),
    "an endless wait": ("GET", "/streams/s/chunks?wait=inf", {}, 400, "invalid_argument"),
    "a negative wait": ("GET", "/streams/s/chunks?wait=-1", {}, 400, "invalid_argument"),
    "a post": ("POST", "/streams/s/events", {}, 405, "method_not_allowed"),
    "a deletion": ("DELETE", "/streams/s", {}, 405, "method_not_allowed"),
    "no upgrade": ("GET", "/streams/s/socket", {}, 426, "upgrade_required"),
    "another upgrade": ("GET", "/streams/s/socket", {"upgrade": "h2c"}, 426, "upgrade_required"),
}


@pytest.mark.parametrize("case", BAD)
async def test_bad_requests_are_told_apart(case: str) -> None:
    """GW-6: Each bad request gets its own status and a JSON error. No object keeps anything."""
    method, path, headers, status, code = BAD[case]
    site = Site()
    await site.write(1)
    answer = await site.ask(path, method, **headers)
    assert refusal(answer) == (status, code)
    if status == 405:
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    site.objects.hibernate()


async def test_what_fails_within_is_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    """GW-6: An object out of reach is 503 with Retry-After. Any other failure is 500 with an id, and a log line."""

    class Broken:
        def __init__(self, error: Exception) -> None:
            self._error = error

        async def call(self, name: str, request: str) -> str:
            raise self._error

    async def no_pause(_seconds: float) -> None:
        """Make every pause end at once."""

    for error, status in ((ObjectCallError("gone", overloaded=True), 503), (OSError("a secret"), 500)):
        gateway = StreamGateway(Broken(error), authorize=_yes, sleep=no_pause)
        answer = await gateway.handle(HttpRequest(url=f"{HOST}/streams/s/chunks"))
        assert answer.status == status
        assert answer.headers.get("retry-after") == ("1" if status == 503 else None)
        assert "secret" not in answer.body
    assert "a secret" in caplog.text
    with pytest.raises(TypeError, match="fetch was given"):
        await gateway.handle("GET /streams/s")


@pytest.mark.parametrize("answer", [False, None, 1, "yes", [True], object()])
@pytest.mark.parametrize("is_async", [False, True])
async def test_only_true_admits(answer: object, is_async: bool) -> None:
    """GW-7: Any value but True denies, and the object is not called."""

    async def later(*_asked: object) -> object:
        return answer

    def at_once(*_asked: object) -> object:
        return answer

    site = Site(authorize=later if is_async else at_once)
    await site.write(1)
    calls = site.objects.calls
    for path in ("/streams/s", "/streams/s/events", "/streams/s/chunks", "/streams/no"):
        denied = await site.ask(path)
        assert refusal(denied) == (403, "forbidden")
    assert refusal(await site.ask("/streams/s/socket", upgrade="websocket")) == (403, "forbidden")
    assert site.objects.calls == calls


async def test_authorize_is_asked_with_the_request_itself() -> None:
    """GW-7: It gets the request that `handle` got, the decoded stream id and the action. Async answers are awaited."""
    asked: list[tuple[object, str, str]] = []

    async def authorize(request: object, stream_id: str, action: str) -> bool:
        asked.append((request, stream_id, action))
        await asyncio.sleep(0)
        return True

    site = Site(authorize=authorize)
    await site.write(1, stream_id="a/b")
    request = HttpRequest(url=f"{HOST}/streams/a%2Fb/events")
    assert (await site.gateway.handle(request)).status == 200
    assert asked == [(request, "a/b", "read")]


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_exception_denies(is_async: bool, caplog: pytest.LogCaptureFixture) -> None:
    """GW-7: An exception is 403 without details. The log has the cause."""

    async def later(*_asked: object) -> bool:
        raise KeyError("the session table is gone")

    def at_once(*_asked: object) -> bool:
        raise KeyError("the session table is gone")

    logger = logging.getLogger("my-gateway")
    site = Site(authorize=later if is_async else at_once, logger=logger)
    denied = await site.ask("/streams/s/events")
    assert refusal(denied) == (403, "forbidden")
    assert "session table" not in str(denied.body)
    assert "session table" in caplog.text
    assert caplog.records[0].name == "my-gateway"


async def test_authorize_is_required() -> None:
    """GW-7: A gateway without `authorize` cannot be made."""
    with pytest.raises(TypeError, match="authorize"):
        StreamGateway(LocalObjects(StreamObject))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError, match="authorize"):
        StreamGateway(LocalObjects(StreamObject), authorize=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_a_signed_path_admits_without_being_asked_about() -> None:
    """GW-9: Its bearer reads from the signed position until it expires, on every wire. `authorize` is asked about others."""
    clock = FakeClock()
    signer = StreamUrlSigner({"k1": "0123456789abcdef"}, now_ms=clock.now_ms)
    site = Site(signer=signer, authorize=_no)
    await site.write(1, 2, 3, stream_id="a/b")
    events = site.gateway.signed_path("a/b", from_sequence=2, expires_in=60)
    assert events.startswith("/streams/a%2Fb/events?from=2&access=k1.")
    assert read(await site.ask(events)).startswith("id: 3\n")
    assert (await site.ask(events, last_event_id="3")).status == 200
    assert refusal(await site.ask(events, last_event_id="1")) == (403, "forbidden")
    assert refusal(await site.ask(events.replace("from=2", "from=1"))) == (403, "forbidden")
    assert refusal(await site.ask(events.replace("a%2Fb", "other"))) == (403, "forbidden")
    assert refusal(await site.ask("/streams/a%2Fb/events")) == (403, "forbidden")
    socket = site.gateway.signed_path("a/b", wire="socket")
    assert (await site.ask(socket, upgrade="websocket")).status == 101
    assert (await site.ask(socket.replace("socket", "chunks"))).status == 200
    await clock.advance(61)
    assert refusal(await site.ask(events)) == (403, "forbidden")
    with pytest.raises(InvalidArgumentError, match="signer"):
        Site().gateway.signed_path("a/b")


async def test_an_access_that_is_not_good_is_not_saved_by_authorize() -> None:
    """GW-9: In a gateway with a signer, `access` alone decides if it is given. Without a signer it has no meaning."""
    site = Site(signer=StreamUrlSigner({"k1": "0123456789abcdef"}))
    await site.write(1)
    assert refusal(await site.ask("/streams/s/events?access=k1.1.1.x")) == (403, "forbidden")
    assert refusal(await site.ask("/streams/s/events?access=")) == (403, "forbidden")
    unsigned = Site()
    await unsigned.write(1)
    assert (await unsigned.ask("/streams/s/events?access=x")).status == 200


async def test_other_origins() -> None:
    """GW-8: Named origins get their name back, on errors too. Other origins get nothing, and caches are told."""
    site = Site(cors=CorsPolicy(allowed_origins=["https://app.example"], allow_credentials=True))
    await site.write(1)
    for path in ("/streams/s/events", "/streams/no", "/streams/s/x"):
        answer = await site.ask(path, origin="https://app.example")
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert "location" in answer.headers["access-control-expose-headers"]
        assert answer.headers["vary"] == "Origin"
    for headers in ({"origin": "https://app.example.evil"}, {"origin": "null"}, {}):
        answer = await site.ask("/streams/s/events", **headers)
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.headers["vary"] == "Origin"
    answer = await Site().ask("/streams/s/x", origin="https://app.example")
    assert not [name for name in answer.headers if name.startswith("access-control") or name == "vary"]


async def test_preflights() -> None:
    """GW-8: A preflight is answered without asking `authorize`. Only admitted origins get methods and headers."""
    site = Site(cors=CorsPolicy(allowed_origins=["https://app.example"], max_age=60), authorize=_broken)
    answer = await site.ask("/streams/s/events", "OPTIONS", origin="https://app.example")
    assert (answer.status, answer.body) == (204, None)
    assert answer.headers["access-control-allow-methods"] == "GET, HEAD, OPTIONS"
    assert "last-event-id" in answer.headers["access-control-allow-headers"]
    assert answer.headers["access-control-max-age"] == "60"
    assert "access-control-allow-credentials" not in answer.headers
    denied = await site.ask("/streams/s/events", "OPTIONS", origin="https://evil.example")
    assert (denied.status, denied.headers) == (204, {"allow": "GET, HEAD, OPTIONS", "vary": "Origin"})
    plain = await Site().ask("/streams/s/events", "OPTIONS", origin="https://app.example")
    assert (plain.status, plain.headers) == (204, {"allow": "GET, HEAD, OPTIONS"})


async def test_any_origin() -> None:
    """GW-8: `*` is sent as it is, and never with credentials."""
    site = Site(cors=CorsPolicy(allowed_origins=["*"]))
    await site.write(1)
    answer = await site.ask("/streams/s", origin="https://any.example")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "vary" not in answer.headers
    with pytest.raises(InvalidArgumentError, match="credentials"):
        CorsPolicy(allowed_origins=["*"], allow_credentials=True)
    for origin in ("app.example", "https://app.example/", "https://App.example", "", "https://", "https://[x"):
        with pytest.raises(InvalidArgumentError, match="origin"):
            CorsPolicy(allowed_origins=[origin])
    with pytest.raises(TypeError, match="list"):
        CorsPolicy(allowed_origins="https://app.example")


async def test_sockets_look_at_the_origin() -> None:
    """GW-8: CORS does not guard WebSockets, so pages of other origins are refused."""
    site = Site(cors=CorsPolicy(allowed_origins=["https://app.example"]))
    await site.write(1)
    for origin, status in (
        *((HOST, 101), ("https://app.example", 101), ("https://evil.example", 403), ("null", 403), ("", 403)),
        *(("http://chat.example", 403), (f"{HOST}.evil", 403)),
    ):
        answer = await site.ask("/streams/s/socket", upgrade="websocket", origin=origin)
        assert (origin, answer.status) == (origin, status)
    assert (await site.ask("/streams/s/socket", upgrade="websocket")).status == 101
    alone = Site()
    await alone.write(1)
    assert (await alone.ask("/streams/s/socket", upgrade="websocket", origin=HOST)).status == 101
    assert (await alone.ask("/streams/s/socket", upgrade="websocket", origin="https://app.example")).status == 403


async def test_sockets_of_any_origin_bring_no_cookies() -> None:
    """GW-8: A WebSocket always brings the user's cookies, so `*` would let pages of any origin read with them."""
    site = Site(cors=CorsPolicy(allowed_origins=["*"]))
    await site.write(1)
    for origin, sent, status in (
        ("https://any.example", {}, 101),
        ("https://any.example", {"cookie": "session=of-the-user"}, 403),
        (HOST, {"cookie": "session=of-the-user"}, 101),
    ):
        answer = await site.ask("/streams/s/socket", upgrade="websocket", origin=origin, **sent)
        assert (origin, sent, answer.status) == (origin, sent, status)


async def test_a_signed_info_is_judged_by_the_end_of_the_stream() -> None:
    """GW-9: The info has the end and the outcome, so the position in its address does not limit it."""
    site = Site(authorize=_broken, signer=StreamUrlSigner({"k1": b"0123456789abcdef"}))
    await site.write(1, 2)
    await site.manager.end_stream("s", "secret")
    beyond = site.gateway.signed_path("s", wire="info", from_sequence=3)
    assert (await site.ask(beyond)).status == 403
    within = site.gateway.signed_path("s", wire="info", from_sequence=2)
    assert [(await site.ask(path)).status for path in (within, within.replace("from=2&", ""))] == [200, 200]
