"""Whatever is asked, the gateway answers: a stream, a page, or a JSON error; never an exception, never a 5xx."""

import asyncio
import json
from typing import Any

from hypothesis import given, settings, strategies as st

from agents_store_cloudflare import (
    CorsPolicy,
    DurableObjectStreamManager,
    HttpRequest,
    HttpResponse,
    StreamGateway,
    StreamObject,
    StreamUrlSigner,
)
from agents_store_cloudflare.testing import FakeClock, LocalEvents, LocalObjects, LocalSocket
from tests.lengths import length

JUNK = st.text(max_size=20) | st.sampled_from(
    ["s", "%73", "%", "%ff", "%00", "..", ".", "events", "socket", "chunks", "info", "__x", "%2F", "[::1", "a" * 600]
)
NUMBERS = st.sampled_from(["0", "1", "2", "3", "-1", "1e3", "９", "9" * 16, "9" * 400, "", " 1", "0x1", "1.5", "61"])
METHODS = st.sampled_from(["GET"] * 6 + ["HEAD", "OPTIONS", "POST", "DELETE", "", "get", "PATCH"])
HEADERS = st.dictionaries(
    st.sampled_from(["upgrade", "last-event-id", "origin", "accept", "cookie", "access-control-request-method"]),
    st.sampled_from(["websocket", "WebSocket", "https://app.example", "https://x", "null"]) | NUMBERS | JUNK,
)
QUERIES = st.lists(
    st.tuples(st.sampled_from(["from", "access", "x", "", "wait"]), NUMBERS | JUNK | st.just("k1.9.9." + "A" * 43)),
    max_size=4,
).map(lambda pairs: "&".join(f"{name}={value}" for name, value in pairs))
PATHS = st.lists(JUNK, max_size=4).map("/".join) | st.sampled_from(
    ["s/events", "s/socket", "s/chunks", "s", "s/", "s/x"]
)
URLS = st.tuples(
    st.sampled_from(["https://chat.example"] * 5 + ["https://[::1", "", "//", "a:b"]),
    st.sampled_from(["/streams/"] * 6 + ["/streams", "/", ""]),
    PATHS,
    st.just("?"),
    QUERIES | st.text(max_size=30),
).map("".join)


class Site:
    """A gateway with everything on, over a stream of two chunks."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.objects = LocalObjects(StreamObject, clock=self.clock)
        self.gateway = StreamGateway(
            self.objects,
            authorize=lambda _request, stream_id, _action: stream_id != "secret",
            signer=StreamUrlSigner({"k1": "0123456789abcdef"}, now_ms=self.clock.now_ms),
            cors=CorsPolicy(allowed_origins=["https://app.example"]),
        )

    async def answer(self, request: HttpRequest) -> HttpResponse | None:
        async with DurableObjectStreamManager(self.objects).create_writer("s", "a", "t") as writer:
            await writer.write({"type": "x"})
            await writer.write({"type": "x"})
        asked: asyncio.Task[Any] = asyncio.ensure_future(self.gateway.handle(request))
        await self.clock.advance(61)
        assert asked.done()
        answer = await asked
        assert answer is None or isinstance(answer, HttpResponse)
        return answer


@settings(max_examples=length(1_500, 12_000), deadline=None)
@given(METHODS, URLS, HEADERS)
def test_every_request_gets_an_answer(method: str, url: str, headers: dict[str, str]) -> None:
    """GW-6: Every request gets a stream, a page or a JSON error with a status below 500."""
    site = Site()
    answer = asyncio.run(site.answer(HttpRequest(method=method, url=url, headers=headers)))
    if answer is None:
        return
    assert 100 <= answer.status < 500
    if answer.status == 101:
        assert isinstance(answer.web_socket, LocalSocket)
    elif isinstance(answer.body, LocalEvents):
        assert answer.status == 200
        answer.body.leave()
    elif method == "HEAD" or answer.status == 204:
        assert answer.body is None
    else:
        assert isinstance(answer.body, str)
        assert ("error" in json.loads(answer.body)) or answer.status == 200
    site.objects.close()
