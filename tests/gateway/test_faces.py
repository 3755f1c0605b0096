"""Another protocol below a path of its own, under the gateway's rules."""

import json
from typing import Any

import pytest

from agents_store_cloudflare import (
    Admits,
    CorsPolicy,
    HttpRequest,
    HttpResponse,
    StreamClosedError,
    StreamGateway,
    StreamObject,
    StreamUrlSigner,
)
from agents_store_cloudflare.testing import FakeClock, LocalObjects

ORIGIN = "https://app.example"


class ForkFace:
    """`PUT /v1/{source}/{new}` forks; /v1/closed and /v1/broken fail."""

    prefix = "/v1"
    methods = "PUT, OPTIONS"

    async def answer(self, request: HttpRequest, original: object, admits: Admits) -> object:
        assert original is request
        _, _, source, *rest = request.url.split("://")[1].split("/")
        if source == "closed":
            raise StreamClosedError("closed", status="ended")
        if source == "broken":
            raise OSError("a secret")
        new = rest[0].split("?")[0]
        if not await admits(new, "fork", source_id=source):
            return HttpResponse.refusal(403, "forbidden", "no")
        return HttpResponse(status=201)


class Site:
    """A gateway with the face, for a caller who may do only the given action."""

    def __init__(self, *allowed: tuple[str, str]) -> None:
        def authorize(_request: object, stream_id: str, action: str) -> bool:
            return (stream_id, action) in allowed

        self.signer = StreamUrlSigner({"k1": "0123456789abcdef"}, now_ms=FakeClock().now_ms)
        self.gateway = StreamGateway(
            LocalObjects(StreamObject),
            authorize=authorize,
            faces=[ForkFace()],
            signer=self.signer,
            cors=CorsPolicy(allowed_origins=[ORIGIN]),
        )

    async def ask(self, path: str, method: str = "PUT") -> Any:
        url = f"https://chat.example{path}"
        return await self.gateway.handle(HttpRequest(method=method, url=url, headers={"origin": ORIGIN}))


@pytest.mark.parametrize(
    ("allowed", "status"),
    [
        ([("new", "fork"), ("old", "read")], 201),
        ([("new", "fork")], 403),
        ([("old", "read"), ("old", "fork"), ("new", "read")], 403),
    ],
)
async def test_a_fork_by_way_of_a_face(allowed: list[tuple[str, str]], status: int) -> None:
    """GW-7, GW-14: `authorize` is asked for the new stream and for its source."""
    assert (await Site(*allowed).ask("/v1/old/new")).status == status


async def test_a_face_lives_under_the_gateways_rules() -> None:
    """GW-14: A face has the gateway's CORS, preflights with its own methods, and errors as JSON. Other paths do not change."""
    site = Site()
    preflight = await site.ask("/v1/old/new", "OPTIONS")
    assert preflight.headers["access-control-allow-methods"] == "PUT, OPTIONS"
    for path, status, code in (("/v1/closed", 409, "stream_closed"), ("/v1/broken", 500, "internal")):
        answer = await site.ask(path)
        assert (answer.status, json.loads(answer.body)["error"]["code"]) == (status, code)
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "secret" not in answer.body
        assert (await site.ask(path, "HEAD")).body is None
    assert await site.ask("/v10/old/new") is None
    assert (await site.ask("/streams/s/x")).status == 404


async def test_a_signed_fork_asks_for_its_source() -> None:
    """GW-9, GW-14: A signature covers one stream. `authorize` is asked about the other."""
    access = Site().signer.sign("new", "fork")
    assert (await Site(("old", "read")).ask(f"/v1/old/new?access={access}")).status == 201
    assert (await Site(("new", "fork")).ask(f"/v1/old/new?access={access}")).status == 403
    assert (await Site(("old", "read")).ask(f"/v1/old/other?access={access}")).status == 403
