"""Live reads in process: events, long-polls, and the clock that ends them."""

import asyncio
import json
from typing import Any

import pytest

from agents_store_cloudflare import (
    DurableObjectStreamManager,
    DurableStreams,
    HttpRequest,
    StreamGateway,
    StreamObject,
)
from agents_store_cloudflare.durable_streams.cursors import cursor_of
from agents_store_cloudflare.durable_streams.offsets import offset_of
from agents_store_cloudflare.testing import FakeClock, LocalObjects

ROOT = "https://streams.example/v1/stream"
JSON = {"content-type": "application/json"}


class Site:
    """A gateway in process."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.objects = LocalObjects(StreamObject, clock=self.clock)
        face = DurableStreams(self.objects, long_poll_timeout=10)
        self.gateway = StreamGateway(
            self.objects, authorize=lambda _request, _stream_id, action: action in self.allowed, faces=[face]
        )
        self.allowed = {"read", "append", "create", "delete", "fork"}

    async def ask(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Any:
        url = f"{ROOT}/{path}"
        return await self.gateway.handle(HttpRequest(method=method, url=url, body=body, headers=headers or JSON))


@pytest.fixture
def site() -> Site:
    return Site()


def told(text: str) -> list[tuple[str, Any]]:
    """Return the events in a text: kind and data."""
    events: list[tuple[str, Any]] = []
    for frame in text.split("\n\n"):
        if frame:
            kind, *lines = frame.split("\n")
            data = "\n".join(line.removeprefix("data:").removeprefix(" ") for line in lines)
            events.append((kind.removeprefix("event: "), json.loads(data)))
    return events


async def test_events(site: Site) -> None:
    """DS-7, DS-8: Stored data, live data and the close come as events, and each `data` has its offset."""
    await site.ask("PUT", "s", b"[1, 2]")
    body = (await site.ask("GET", "s?offset=-1&live=sse")).body
    first = told(body.read())
    assert [kind for kind, _ in first] == ["data", "control"]
    assert (first[0][1], first[1][1]["streamNextOffset"], first[1][1]["upToDate"]) == ([1, 2], offset_of(2), True)
    await site.ask("POST", "s", b"[3, 4]")
    assert told(body.read())[0] == ("data", [3, 4])
    await site.ask("POST", "s", b"5", {**JSON, "stream-closed": "true"})
    *_, (_, last) = told(body.read())
    assert (last["streamClosed"], last["streamNextOffset"], "streamCursor" in last) == (True, offset_of(5), False)
    assert not body.is_open
    late = (await site.ask("GET", "s?offset=now&live=sse")).body
    assert [event["streamClosed"] for _, event in told(late.read())] == [True]


async def test_a_slow_reader_holds_nobody(site: Site) -> None:
    """DS-7: A reader that reads nothing falls behind. It then gets everything in order without gaps."""
    await site.ask("PUT", "s")
    slow, quick = [(await site.ask("GET", "s?offset=-1&live=sse")).body for _ in range(2)]
    assert told(slow.read())
    got: list[Any] = []
    for number in range(12):
        await site.ask("POST", "s", json.dumps([[number, "x" * 60_000]]).encode())
        got += [value[0] for kind, values in told(quick.read()) if kind == "data" for value in values]
    assert got == list(range(12))
    late = [value[0] for kind, values in told(slow.read()) if kind == "data" for value in values]
    assert late == list(range(12))


@pytest.mark.parametrize("news", ["delete", "close", "minute"])
async def test_an_ended_response_that_nobody_reads_is_let_go(site: Site, news: str) -> None:
    """DS-7: The unread frames of a closed or deleted stream are dropped after a minute without a read."""
    await site.ask("PUT", "s", json.dumps([["x" * 60_000]] * 3).encode())
    silent, late = [(await site.ask("GET", "s?offset=-1&live=sse")).body for _ in range(2)]
    for body in (silent, late):
        body.pull()
    assert silent.held_bytes > 180_000
    if news == "delete":
        await site.ask("DELETE", "s")
    elif news == "close":
        await site.ask("POST", "s", headers={**JSON, "stream-closed": "true"})
    await site.clock.advance(30)
    assert late.read().count("event: data") >= 1
    await site.clock.advance(100)
    assert (silent.held_bytes, silent.was_broken_off) == (0, True)
    assert late.held_bytes == 0
    site.objects.hibernate()


async def test_a_connection_ends(site: Site) -> None:
    """DS-7: A connection sends a comment every 15 seconds and ends after a minute. Then the object may sleep."""
    await site.ask("PUT", "s")
    body = (await site.ask("GET", "s?offset=-1&live=sse")).body
    body.read()
    for _ in range(3):
        await site.clock.advance(15)
        assert [kind for kind, _ in told(body.read())] == ["control"]
    await site.clock.advance(15)
    assert not body.is_open
    site.objects.hibernate()


async def test_readers_of_a_deleted_stream(site: Site) -> None:
    """DS-7, DS-11: Their connections end, and a new request finds nothing."""
    await site.ask("PUT", "s")
    body = (await site.ask("GET", "s?offset=-1&live=sse")).body
    body.read()
    polling = asyncio.ensure_future(site.ask("GET", "s?offset=now&live=long-poll"))
    await asyncio.sleep(0)
    await site.ask("DELETE", "s")
    assert not body.is_open
    assert (await polling).status == 404


async def test_long_polls(site: Site) -> None:
    """DS-6: New data or the clock ends a long-poll."""
    await site.ask("PUT", "s")
    polling = asyncio.ensure_future(site.ask("GET", "s?offset=now&live=long-poll"))
    await asyncio.sleep(0)
    await site.ask("POST", "s", b"7")
    answer = await polling
    assert (answer.status, answer.body, answer.headers["stream-next-offset"]) == (200, "[7]", offset_of(1))
    polling = asyncio.ensure_future(site.ask("GET", f"s?offset={offset_of(1)}&live=long-poll"))
    await asyncio.sleep(0)
    await site.clock.advance(9.9)
    assert not polling.done()
    await site.clock.advance(0.2)
    answer = await polling
    assert (answer.status, answer.headers["stream-up-to-date"]) == (204, "true")


def test_cursors() -> None:
    """DS-6: Cursors follow the clock and never fall."""
    assert cursor_of(1_728_432_000_000 + 20_000 * 7, None) == "7"
    assert cursor_of(1_728_432_000_000 + 20_000 * 7, 6) == "7"
    for given in (7, 8, 10**14):
        assert given < int(cursor_of(1_728_432_000_000 + 20_000 * 7, given)) <= given + 180


async def test_expiry_gives_rows_back(site: Site) -> None:
    """DS-9: An alarm deletes a stream that nobody reads. A restart can only delay it."""
    await site.ask("PUT", "s", b"[1]", {**JSON, "stream-ttl": "80"})
    await site.clock.advance(70)
    assert (await site.ask("GET", "s")).status == 200
    await site.clock.advance(9)
    await site.ask("GET", "s")
    site.objects.restart()
    await site.clock.advance(79)
    assert (await site.ask("HEAD", "s")).status == 200
    await site.clock.advance(12)
    assert (await site.ask("HEAD", "s")).status == 404
    at = {**JSON, "stream-expires-at": "1970-01-01T00:00:00Z"}
    assert (await site.ask("PUT", "past", b"", at)).status == 201
    assert (await site.ask("GET", "past")).status == 404


async def test_who_may(site: Site) -> None:
    """DS-17: Each method asks for its own action. A denied request reaches no object."""
    await site.ask("PUT", "s", b"[1]")
    fork = {"stream-forked-from": "/v1/stream/s"}
    for method, action in (
        ("GET", "read"),
        ("HEAD", "read"),
        ("POST", "append"),
        ("PUT", "create"),
        ("DELETE", "delete"),
    ):
        site.allowed = {"read", "append", "create", "delete", "fork"} - {action}
        assert (await site.ask(method, "s", b"2")).status == 403
    for denied in ("fork", "read"):
        site.allowed = {"read", "append", "create", "delete", "fork"} - {denied}
        assert (await site.ask("PUT", "f", b"", fork)).status == 403
    site.allowed = {"read"}
    assert (await site.ask("GET", "s")).body == "[1]"
    assert (await site.ask("GET", "f")).status == 404


async def test_native_writers_and_bytes(site: Site) -> None:
    """DS-12: A stream without JSON refuses a native writer."""
    from agents_store_cloudflare import DurableObjectStreamManager, InvalidArgumentError

    await site.ask("PUT", "text", b"a", {"content-type": "text/plain"})
    writer = await DurableObjectStreamManager(site.objects).create_writer("text", "a", "b")
    with pytest.raises(InvalidArgumentError, match="text/plain"):
        await writer.write({"type": "text"}, expected_sequence=2)


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/octet-stream"])
async def test_a_large_append_reaches_a_reader_page_by_page(site: Site, content_type: str) -> None:
    """DS-7: Each `control` has the offset after its own `data`. Nothing is missing, and little memory is held for the reader."""
    headers = {"content-type": content_type}
    await site.ask("PUT", "s", b"", headers)
    answer = await site.ask("GET", "s?offset=-1&live=sse", headers=headers)
    answer.body.read()
    body = json.dumps(["x" * 1_000] * 2_000).encode()
    await site.ask("POST", "s", body, headers)
    events = [frame for frame in answer.body.read().split("\n\n") if frame]
    data = [frame for frame in events if frame.startswith("event: data")]
    controls = [json.loads(frame.partition("data:")[2]) for frame in events if frame.startswith("event: control")]
    assert len(data) == len(controls) > 5
    assert sum(map(len, data)) >= 2_000_000
    offsets = [control["streamNextOffset"] for control in controls]
    assert offsets == sorted(set(offsets))
    for before, event in zip(offsets, data[1:], strict=False):
        page = (await site.ask("GET", f"s?offset={before}", headers=headers)).body
        beginning = event.partition("data:")[2][:500]
        text = page.decode() if isinstance(page, bytes) else page
        if content_type != "application/octet-stream":
            assert text.startswith(beginning.removeprefix(" "))
    assert controls[-1].get("upToDate") is True


@pytest.mark.parametrize("ends", ["reset", "deletion"])
async def test_a_long_poll_does_not_go_on_in_the_next_life(site: Site, ends: str) -> None:
    """DS-6, SM-40: If the stream begins anew while a client waits at its end, the wait ends and the offset is refused."""
    manager = DurableObjectStreamManager(site.objects)
    await site.ask("PUT", "s", b"[1, 2]")
    waiting = asyncio.ensure_future(site.ask("GET", f"s?offset={offset_of(2)}&live=long-poll"))
    await site.clock.advance(1)
    if ends == "reset":
        await manager.reset_stream("s")
        await site.ask("POST", "s", b"[3]")
    else:
        # Both changes come before the waiting request runs again.
        await asyncio.gather(site.ask("DELETE", "s"), site.ask("PUT", "s", b"[3]"))
    answer = await waiting
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (410, "stream_truncated")


async def test_a_long_poll_from_now_on_gets_what_comes_after_a_reset(site: Site) -> None:
    """DS-6: A client that has read nothing gets the data after a reset."""
    await site.ask("PUT", "s", b"[1, 2]")
    waiting = asyncio.ensure_future(site.ask("GET", "s?offset=now&live=long-poll"))
    await site.clock.advance(1)
    await DurableObjectStreamManager(site.objects).reset_stream("s")
    await site.ask("POST", "s", b"[3]")
    answer = await waiting
    assert (answer.status, answer.body) == (200, "[3]")


async def test_a_live_reader_that_never_reads_leaves_nothing(site: Site) -> None:
    """DS-7: After its minute the object holds nothing for it."""
    await site.ask("PUT", "s")
    await site.ask("POST", "s", json.dumps(["x" * 100_000] * 4).encode())
    body = (await site.ask("GET", "s?offset=-1&live=sse")).body
    for _ in range(4):
        body._source.pull()
    assert body.held_bytes > 200_000
    await site.clock.advance(90)
    assert (body.is_open, body.held_bytes) == (False, 0)
