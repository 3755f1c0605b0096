"""The Durable Streams protocol in real Durable Objects."""

import asyncio
from importlib import import_module
from typing import Any

import pytest

from agents_store_cloudflare import DurableStreams, HttpRequest, StreamGateway
from agents_store_cloudflare.cloudflare.http import header_of
from agents_store_cloudflare.cloudflare.namespace import as_namespace
from agents_store_cloudflare.objects import ObjectNamespace
from agents_store_cloudflare.testing import SystemClock
from agents_store_cloudflare.testing.conformance.durable_streams import DurableStreamsConformance, Reply, reply_of


class TestDurableStreams(DurableStreamsConformance):
    @pytest.fixture
    def clock(self) -> SystemClock:
        return SystemClock()

    @pytest.fixture
    def stream_namespace(self, env: Any) -> ObjectNamespace:
        return as_namespace(env.STREAMS)

    async def whole(self, answer: Any) -> Reply:
        return await _whole(answer)


async def _whole(answer: Any) -> Reply:
    from js import Object

    if not hasattr(answer, "arrayBuffer"):
        return reply_of(answer)
    headers = Object.fromEntries(answer.headers).to_py()
    return Reply(answer.status, headers, (await answer.arrayBuffer()).to_bytes())


async def test_rows_written(env: Any, unique: str) -> None:
    """DS-14: what each request writes, by the statements' own count; a table is two rows."""
    namespace = as_namespace(env.COUNTED_STREAMS)
    face = DurableStreams(namespace, long_poll_timeout=0)
    gateway = StreamGateway(namespace, authorize=lambda _request, _stream_id, _action: True, faces=[face])
    producer = {"producer-id": "p", "producer-epoch": "0", "producer-seq": "0"}
    requests: list[tuple[str, str, bytes, dict[str, str], int]] = [
        ("GET", "", b"", {}, 0),
        ("PUT", "", b"[1, 2]", {"stream-ttl": "3600"}, 5),  # the table, the head, a block, an alarm
        ("POST", "", b"[3, 4, 5]", {}, 1),
        ("POST", "", b"6", producer, 1),
        ("POST", "", b"6", producer, 0),
        ("POST", "", b"7", {"stream-seq": "a"}, 2),
        ("GET", "?offset=-1", b"", {}, 0),
        ("HEAD", "", b"", {}, 0),
        ("GET", "?offset=now&live=long-poll", b"", {}, 0),
        ("POST", "", b"8", {"stream-closed": "true"}, 2),
    ]
    written = 0
    for method, query, body, headers, rows in requests:
        url = f"https://streams.example/v1/stream/{unique}{query}"
        request = HttpRequest(
            method=method, url=url, body=body, headers={"content-type": "application/json", **headers}
        )
        reply = await _whole(await gateway.handle(request))
        assert reply.status < 300 or rows == 0, reply.body
        before, written = written, int(await namespace.call(unique, "rows written"))
        assert (method, query, written - before) == (method, query, rows)


MEGABYTE = 1024 * 1024


@pytest.mark.parametrize(
    ("content_type", "status", "body"),
    [
        ("application/octet-stream", 204, b"\xff" * 16 * MEGABYTE),
        ("text/plain", 204, "é".encode() * 8 * MEGABYTE),
        ("application/json", 413, b"[" + b"1," * (2 * MEGABYTE - 8) + b"1]"),
        ("application/json", 413, b"[[" + b"[]," * 600_000 + b"1]]"),
        ("application/json", 204, b"[" + b'{"type":"text","text":"0123456789","n":1},' * 99_000 + b"1]"),
    ],
)
async def test_the_memory_of_a_request(env: Any, unique: str, content_type: str, status: int, body: bytes) -> None:
    """DS-13: the isolate stays below 128 MB, and grows by less than four times the largest body that is permitted.

    The sender's own body lies in the same isolate here. WebAssembly memory never shrinks, so the highest point shows.
    """
    module: Any = import_module("pyodide_js")._module
    headers = {"content-type": content_type}
    gateway = StreamGateway(
        env.STREAMS, authorize=lambda _request, _stream_id, _action: True, faces=[DurableStreams(env.STREAMS)]
    )
    url = f"https://streams.example/v1/stream/{unique}"
    await gateway.handle(HttpRequest(method="PUT", url=url, headers=headers))
    before: int = module.HEAP8.length
    answer = await gateway.handle(HttpRequest(method="POST", url=url, headers=headers, body=body))
    after: int = module.HEAP8.length
    assert answer.status == status
    # A fresh isolate has 36 MB; this one has run other tests.
    assert after - before < 4 * 16 * MEGABYTE < (128 - 36) * MEGABYTE


async def test_large_bodies_at_once(env: Any, unique: str) -> None:
    """DS-13: an isolate takes 32 MB of large bodies at once; one more gets 429 and may come again, and a small one passes."""
    module: Any = import_module("pyodide_js")._module
    headers = {"content-type": "application/octet-stream"}
    gateway = StreamGateway(
        env.STREAMS, authorize=lambda _request, _stream_id, _action: True, faces=[DurableStreams(env.STREAMS)]
    )
    urls = [f"https://streams.example/v1/stream/{unique}-{number}" for number in range(5)]
    for url in urls:
        await gateway.handle(HttpRequest(method="PUT", url=url, headers=headers))
    large = b"\xff" * 12 * MEGABYTE
    before: int = module.HEAP8.length

    async def post(url: str, body: bytes) -> tuple[int, str | None]:
        answer = await gateway.handle(HttpRequest(method="POST", url=url, headers=headers, body=body))
        return answer.status, header_of(answer, "retry-after")

    answers = await asyncio.gather(*(post(url, large) for url in urls[:4]), post(urls[4], b"small"))
    assert answers[4] == (204, None)
    assert sorted(set(answers)) in ([(204, None)], [(204, None), (429, "1")])
    assert answers.count((204, None)) >= 3
    assert await post(urls[0], large) == (204, None)
    after: int = module.HEAP8.length
    # A fresh isolate has 36 MB; this one has run other tests.
    assert after - before < (128 - 36) * MEGABYTE
