"""Pages of chunks for clients that come back after a reset or a deletion."""

import json
from typing import Any

import pytest

from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.gateway.gateway import StreamGateway
from agents_store_cloudflare.objects.http_messages import HttpRequest, HttpResponse
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.testing import LocalObjects


def _admit(_request: HttpRequest, _stream_id: str, _action: str) -> bool:
    return True


class Site:
    """A gateway that admits everybody, and its streams."""

    def __init__(self) -> None:
        self.objects = LocalObjects(StreamObject)
        self.manager = DurableObjectStreamManager(self.objects)
        self.gateway = StreamGateway(self.objects, authorize=_admit)

    async def write(self, *numbers: int) -> None:
        async with self.manager.create_writer("s", "a", "t") as writer:
            for number in numbers:
                await writer.write({"type": "text", "n": number})

    async def chunks(self, position: int) -> tuple[int, Any]:
        answer = await self.gateway.handle(HttpRequest(url=f"https://x/streams/s/chunks?from={position}"))
        assert isinstance(answer, HttpResponse)
        assert isinstance(answer.body, str)
        return answer.status, json.loads(answer.body)


@pytest.mark.parametrize("begins_by", ["reset_stream", "delete_stream"])
async def test_a_page_for_a_position_of_an_earlier_life(begins_by: str) -> None:
    """SM-40, GW-13: A position from before a reset gets 410, even if the client had every chunk. From 0 it begins anew."""
    site = Site()
    await site.write(1, 2, 3)
    await getattr(site.manager, begins_by)("s")
    await site.write(4)
    for position in (1, 2, 3):
        status, page = await site.chunks(position)
        assert (status, page["error"]["code"]) == (410, "stream_truncated")
    status, page = await site.chunks(0)
    assert (status, page["sequence"], [chunk["n"] for chunk in page["chunks"]]) == (200, 4, [4])
    assert (await site.chunks(4))[0] == 200


async def test_who_has_read_nothing_of_a_new_life_may_go_on_asking() -> None:
    """SM-40, GW-4: The empty page of a stream that was just reset gives a position that stays valid."""
    site = Site()
    await site.write(1, 2)
    await site.manager.reset_stream("s")
    status, page = await site.chunks(0)
    assert (status, page["chunks"]) == (200, [])
    await site.write(3)
    status, page = await site.chunks(page["sequence"])
    assert (status, [chunk["n"] for chunk in page["chunks"]]) == (200, [3])


@pytest.mark.parametrize("position", [0, 1])
async def test_a_page_never_has_the_outcome_of_the_next_life(position: int) -> None:
    """SM-40, GW-4: The stream is reset and ended between the page and its outcome. The request then begins anew."""
    site = Site()
    await site.write(1)
    await site.manager.end_stream("s", "first")
    call = site.objects.call

    async def disturbed(name: str, request: str) -> str:
        reply = await call(name, request)
        if '"read"' in request:
            site.objects.call = call  # type: ignore[method-assign]
            await site.manager.reset_stream("s")
            await site.manager.end_stream("s", "second")
        return reply

    site.objects.call = disturbed  # type: ignore[method-assign]
    status, page = await site.chunks(position)
    if position:
        assert (status, page["error"]["code"]) == (410, "stream_truncated")
    else:
        assert (status, page["output"], page["chunks"]) == (200, "second", [])
