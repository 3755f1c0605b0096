"""Connections that are open when their permission ends."""

import asyncio
from typing import Any

import pytest

from agents_store_cloudflare import InvalidArgumentError, StreamGateway, StreamObject, StreamUrlSigner
from agents_store_cloudflare.testing import LocalObjects
from tests.gateway.test_gateway import Site, body, frames, refusal


class Signed(Site):
    """A gateway whose signer has the clock of the streams' objects. `authorize` admits until `is_revoked`."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.is_revoked = False
        signer = StreamUrlSigner({"k1": "0123456789abcdef"}, now_ms=self.clock.now_ms)
        self.gateway = StreamGateway(self.objects, authorize=self._may, signer=signer, **options)

    def _may(self, *_asked: object) -> bool:
        return not self.is_revoked


def _yes(*_asked: object) -> bool:
    return True


def _path(site: Site, wire: Any, *, is_signed: bool) -> str:
    return site.gateway.signed_path("s", wire=wire, expires_in=60) if is_signed else f"/streams/s/{wire}"


def _site(*, is_signed: bool) -> Signed:
    return Signed() if is_signed else Signed(recheck_after=60)


@pytest.mark.parametrize("is_signed", [True, False])
async def test_events_end_with_their_permission(*, is_signed: bool) -> None:
    """GW-7, GW-9: A chunk after that time is not delivered, and the response ends. The client's reconnection is refused."""
    site = _site(is_signed=is_signed)
    await site.write(1)
    path = _path(site, "events", is_signed=is_signed)
    events: Any = (await site.ask(path)).body
    site.is_revoked = True
    await site.clock.advance(59)
    await site.write(2)
    assert '"n":2' in events.read()
    await site.clock.advance(1.001)
    await site.write(3)
    assert '"n":3' not in events.read()
    assert not events.is_open
    assert refusal(await site.ask(path, last_event_id="2")) == (403, "forbidden")


@pytest.mark.parametrize("is_signed", [True, False])
async def test_idle_events_end_with_their_permission(*, is_signed: bool) -> None:
    """GW-7, GW-9: A response without new chunks ends at the next keep-alive."""
    site = _site(is_signed=is_signed)
    await site.write(1)
    events: Any = (await site.ask(_path(site, "events", is_signed=is_signed))).body
    for _ in range(5):
        await site.clock.advance(15)
        events.read()
    assert not events.is_open


@pytest.mark.parametrize("change", ["write", "end", "reset", "fail"])
@pytest.mark.parametrize("sleeps", [False, True])
@pytest.mark.parametrize("is_signed", [True, False])
async def test_a_socket_is_closed_with_its_permission(change: str, *, sleeps: bool, is_signed: bool) -> None:
    """GW-7, GW-9, GW-10: Instead of the next frame it is closed with 1008, also after the object has slept."""
    site = _site(is_signed=is_signed)
    await site.write(1)
    socket: Any = (await site.ask(_path(site, "socket", is_signed=is_signed), upgrade="websocket")).web_socket
    await site.clock.advance(59)
    await site.write(2)
    before = frames(socket)
    assert before[-1]["data"]["n"] == 2
    await site.clock.advance(1.001)
    if sleeps:
        site.objects.hibernate()
    match change:
        case "write":
            await site.write(3)
        case "end":
            await site.manager.end_stream("s")
        case "reset":
            await site.manager.reset_stream("s")
        case _:
            await site.manager.fail_stream("s", "broken")
    assert frames(socket) == before
    assert socket.close_code == 1008


async def test_a_slow_socket_gets_nothing_after_its_permission() -> None:
    """GW-9, GW-11: Its late `ack` brings no more chunks."""
    site = Signed()
    async with site.manager.create_writer("s", "a", "t") as writer:
        for number in range(30):
            await writer.write({"type": "text", "n": number, "text": "x" * 20_000})
    path = site.gateway.signed_path("s", wire="socket", expires_in=60)
    socket: Any = (await site.ask(path, upgrade="websocket")).web_socket
    before = len(socket.messages)
    await site.clock.advance(60.001)
    await socket.send("ack")
    assert len(socket.messages) == before
    assert socket.close_code == 1008


async def test_a_page_waits_no_longer_than_its_permission() -> None:
    """GW-4, GW-9: The wait ends with the permission, and the page is empty."""
    site = Signed()
    await site.write(1)
    path = site.gateway.signed_path("s", wire="chunks", expires_in=10, from_sequence=1)
    waiting = asyncio.ensure_future(site.ask(f"{path}&wait=60"))
    await site.clock.advance(10.001)
    assert body(await waiting)["chunks"] == []


async def test_without_a_time_a_connection_stays() -> None:
    """GW-7: `authorize` decides when a connection is opened."""
    site = Signed()
    await site.write(1)
    socket: Any = (await site.ask("/streams/s/socket", upgrade="websocket", agents_left="1")).web_socket
    site.is_revoked = True
    await site.clock.advance(86_400)
    await site.write(2)
    assert frames(socket)[-1]["data"]["n"] == 2


def test_a_time_is_at_least_a_second() -> None:
    """GW-7: A shorter time would only make clients come back all the time."""
    for value in (0, 0.5, 86_401):
        with pytest.raises(InvalidArgumentError, match="recheck_after"):
            StreamGateway(LocalObjects(StreamObject), authorize=_yes, recheck_after=value)
