"""Signed permissions and other pages' requests, as the protocol's face meets them."""

from typing import Any

import pytest

from agents_store_cloudflare import (
    CorsPolicy,
    DurableObjectStreamManager,
    DurableStreams,
    HttpRequest,
    StreamGateway,
    StreamObject,
    StreamUrlSigner,
)
from agents_store_cloudflare.durable_streams.offsets import offset_of
from agents_store_cloudflare.testing import LocalObjects

FLOOR = 8


class Site:
    """A gateway with one stream of ten chunks, which only signatures open."""

    def __init__(self, *, may: bool = False, cors: CorsPolicy | None = None) -> None:
        self.objects = LocalObjects(StreamObject)
        self.gateway = StreamGateway(
            self.objects,
            authorize=lambda _request, _stream_id, _action: may,
            signer=StreamUrlSigner({"k": "0123456789abcdef"}),
            faces=[DurableStreams(self.objects, long_poll_timeout=0.01)],
            cors=cors,
        )

    async def fill(self, count: int = 10) -> None:
        async with DurableObjectStreamManager(self.objects).create_writer("s", "a", "t") as writer:
            for number in range(1, count + 1):
                await writer.write({"type": "text", "text": f"word-{number:02}"})

    async def read(self, query: str, headers: dict[str, str], floor: int = FLOOR) -> tuple[int, str]:
        access = self.gateway.signed_path("s", from_sequence=floor).partition("access=")[2]
        url = f"https://x.example/v1/stream/s?{query}&access={access}"
        answer = await self.gateway.handle(HttpRequest(url=url, headers=headers))
        body: Any = answer.body.read() if hasattr(answer.body, "read") else answer.body
        return answer.status, body.decode() if isinstance(body, bytes) else body or ""


@pytest.mark.parametrize("mode", ["", "&live=long-poll", "&live=sse"])
async def test_a_floor_holds_for_the_position_that_is_read(mode: str) -> None:
    """GW-9, DS-17: The signed position limits the read, whatever other positions a request names."""
    site = Site()
    await site.fill()
    for offset in ("-1", offset_of(0), offset_of(FLOOR - 1)):
        for more, headers in (("", {}), ("&from=8", {}), ("&offset_=9", {"last-event-id": "8"})):
            status, body = await site.read(f"offset={offset}{mode}{more}", headers)
            assert (status, "word-" in body) == (403, False)
    for offset in (offset_of(FLOOR), "now"):
        status, body = await site.read(f"offset={offset}{mode}&from=0", {"last-event-id": "0"})
        assert status in (200, 204)
        assert "word-08" not in body


async def test_the_end_may_lie_before_the_floor() -> None:
    """GW-9: The floor applies to the position `now` too."""
    site = Site()
    await site.fill()
    assert (await site.read("offset=now&live=sse", {}, floor=12))[0] == 403
    assert (await site.read("offset=now&live=sse", {}, floor=10))[0] == 200


@pytest.mark.parametrize(
    ("headers", "policy", "status"),
    [
        ({}, None, 201),
        ({"origin": "https://x.example"}, None, 201),
        ({"origin": "https://evil.example", "cookie": "a=b"}, None, 403),
        ({"origin": "null", "cookie": "a=b"}, None, 403),
        ({"sec-fetch-site": "cross-site", "cookie": "a=b"}, None, 403),
        ({"origin": "https://evil.example"}, None, 403),
        ({"origin": "https://app.example", "cookie": "a=b"}, CorsPolicy(allowed_origins=["https://app.example"]), 201),
        ({"origin": "https://evil.example"}, CorsPolicy(allowed_origins=["*"]), 201),
        ({"origin": "https://evil.example", "cookie": "a=b"}, CorsPolicy(allowed_origins=["*"]), 403),
    ],
)
async def test_other_pages_change_nothing(headers: dict[str, str], policy: CorsPolicy | None, status: int) -> None:
    """GW-8: A browser sends cookies with a simple request of any page, so the gateway checks the page's origin."""
    site = Site(may=True, cors=policy)
    url = "https://x.example/v1/stream/s"
    answer = await site.gateway.handle(
        HttpRequest(method="PUT", url=url, headers={**headers, "content-type": "text/plain"})
    )
    assert answer.status == status
    assert (await site.gateway.handle(HttpRequest(url=url, headers=headers))).status == (200 if status == 201 else 404)


async def test_a_stored_page_is_not_active() -> None:
    """DS-5: A browser that opens a stored page runs none of its scripts on the Worker's origin."""
    site = Site(may=True)
    url = "https://x.example/v1/stream/page"
    body = b"<script>alert(1)</script>"
    headers = {"content-type": "text/html"}
    await site.gateway.handle(HttpRequest(method="PUT", url=url, headers=headers, body=body))
    answer = await site.gateway.handle(HttpRequest(url=url))
    assert (answer.body, answer.headers["content-disposition"]) == (body, "attachment")
    assert answer.headers["content-security-policy"].startswith("sandbox;")
