"""Forks whose requests are repeated, broken off, or forgotten, in process."""

import asyncio
from typing import Any

import pytest

from agents_store_cloudflare import (
    DurableObjectStreamManager,
    DurableStreams,
    HttpRequest,
    StreamClosedError,
    StreamGateway,
    StreamObject,
)
from agents_store_cloudflare.durable_streams.offsets import offset_of
from agents_store_cloudflare.objects import ObjectCallError
from agents_store_cloudflare.testing import FakeClock, LocalObjects

BYTES = {"content-type": "application/octet-stream"}
JSON = {"content-type": "application/json"}


class Objects(LocalObjects):
    """Loses the replies of calls that contain a text, or stops the Worker after a number of calls."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(StreamObject, clock=clock)
        self.lost: list[str] = []
        self.calls_left: int | None = None

    async def call(self, name: str, request: str) -> str:
        if self.calls_left == 0:
            raise asyncio.CancelledError
        if self.calls_left is not None:
            self.calls_left -= 1
        reply = await super().call(name, request)
        for text in self.lost:
            if text in request:
                self.lost.remove(text)
                raise ObjectCallError("Network connection lost.", retryable=True)
        return reply


class Site:
    """A gateway over those objects."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.objects = Objects(self.clock)
        face = DurableStreams(self.objects, sleep=self.clock.sleep)
        self.gateway = StreamGateway(self.objects, authorize=lambda _request, _stream_id, _action: True, faces=[face])

    async def ask(self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Any:
        url = f"https://streams.example/v1/stream/{path}"
        task = asyncio.ensure_future(
            self.gateway.handle(HttpRequest(method=method, url=url, headers=headers or JSON, body=body))
        )
        for _ in range(20):
            await asyncio.sleep(0)
            await self.clock.advance(0.5)
        return await task

    async def status(self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"") -> int:
        return int((await self.ask(method, path, headers, body)).status)

    async def fork(self, path: str, source: str, **headers: str) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.status("PUT", path, {"stream-forked-from": f"/v1/stream/{source}", **named})


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.mark.parametrize("lost", ["protocol.delete", "protocol.release"])
async def test_a_deletion_whose_reply_is_lost(site: Site, lost: str) -> None:
    """DS-11, SM-9: A repeated deletion gets the first answer, and every path up the line is free."""
    await site.status("PUT", "a", body=b"[1]")
    assert [await site.fork("b", "a"), await site.fork("c", "b")] == [201, 201]
    assert [await site.status("DELETE", path) for path in "ab"] == [204, 204]
    site.objects.lost = [lost]
    assert await site.status("DELETE", "c") == 204
    assert await site.status("PUT", "a") == 201


async def test_a_fork_whose_reply_is_lost(site: Site) -> None:
    """DS-10, SM-9: A repeated request makes no second fork, and gets the first answer."""
    await site.status("PUT", "a", body=b"[1]")
    site.objects.lost = ['"step":"make"']
    assert await site.fork("b", "a") == 201
    assert await site.fork("b", "a") == 200


async def test_a_copy_that_was_broken_off(site: Site) -> None:
    """DS-10: The pages of a copy that failed midway are deleted without a call, and its source forgets it."""
    await site.status("PUT", "a", BYTES)
    await site.status("POST", "a", BYTES, b"x" * 3_000_000)
    site.objects.calls_left = 4
    with pytest.raises(asyncio.CancelledError):
        await site.fork("b", "a")
    site.objects.calls_left = None
    await site.status("DELETE", "a")
    assert await site.status("HEAD", "a") == 410
    await site.clock.advance(700)
    await site.clock.advance(1)
    assert await site.status("HEAD", "a") == 404


async def test_forks_that_expire_tell_their_source(site: Site) -> None:
    """DS-11: An expired fork tells its source, also up the line, and without any request."""
    await site.status("PUT", "a", body=b"[1]")
    for number in range(3):
        assert await site.fork(f"b{number}", "a", stream_ttl="30") == 201
    await site.status("DELETE", "a")
    assert await site.status("POST", "a", body=b"2") == 410
    await site.clock.advance(60)
    await site.clock.advance(120)
    assert await site.status("POST", "a", body=b"2") == 404


async def test_native_writers_do_not_take_a_held_path(site: Site) -> None:
    """DS-11: Native writers cannot use a path that forks hold, and the forks stay known."""
    await site.status("PUT", "a", body=b"[1]")
    await site.fork("b", "a")
    manager = DurableObjectStreamManager(site.objects)
    await manager.delete_stream("a")
    with pytest.raises(StreamClosedError):
        await manager.create_writer("a", "agent-1", "tester")
    assert await site.status("GET", "a") == 410
    assert await site.status("DELETE", "b") == 204
    async with manager.create_writer("a", "agent-1", "tester") as writer:
        await writer.write({"type": "text"})


async def test_a_source_that_is_made_anew_while_it_is_copied(site: Site) -> None:
    """DS-10: No fork mixes the beginning of one stream with the end of another."""
    await site.status("PUT", "a", BYTES)
    await site.status("POST", "a", BYTES, b"x" * 3_000_000)
    site.objects.calls_left = 3
    with pytest.raises(asyncio.CancelledError):
        await site.fork("b", "a")
    site.objects.calls_left = None
    await site.status("DELETE", "a")
    assert await site.fork("b", "a") == 409


async def test_a_sub_offset_beyond_everything(site: Site) -> None:
    """DS-13: A sub-offset is looked up in steps of 1 MB. A sub-offset over 16 MB is refused at once."""
    await site.status("PUT", "a", BYTES)
    await site.status("POST", "a", BYTES, b"x" * 5_000_000)
    start = offset_of(0)
    for size, status in (("4999999", 201), ("5000001", 400), ("99999999", 400)):
        headers = {"stream_fork_offset": start, "stream_fork_sub_offset": size}
        assert await site.fork(f"f{size}", "a", **headers) == status
    assert await site.status("HEAD", "f4999999") == 200
