"""What a listener hears behind a full window, and what is held for one that does not read."""

import json
from functools import partial
from typing import Any

import pytest

from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.testing import LocalEvents, LocalObjects, LocalSocket
from tests.counting_clock import CountingClock

KB = 1024
MOST = (256 + 64) * KB


class Stream:
    """A stream "s" and listeners that read when they are told to."""

    def __init__(self) -> None:
        self.clock = CountingClock()
        self.objects = LocalObjects(StreamObject, clock=self.clock)
        # Without an alarm: what is pending in the clock are timers.
        self.manager = DurableObjectStreamManager(
            self.objects, buffer_size=100_000, flush_interval=60, keep_after_end=None, keep_idle=None
        )

    async def write(self, count: int, size: int = 0) -> None:
        """Store this number of chunks by one flush."""
        async with self.manager.create_writer("s", "a", "t") as writer:
            for _ in range(count):
                await writer.write({"type": "text", "text": "x" * size})

    def timers(self) -> int:
        """Return how many timers are pending."""
        return len(self.clock.pending)

    async def events(self, from_sequence: int = 0) -> LocalEvents:
        answer = await self.objects.fetch("s", f"https://stream.invalid/?from={from_sequence}", {})
        assert isinstance(answer.body, LocalEvents), answer.body
        return answer.body

    async def socket(self, from_sequence: int = 0) -> LocalSocket:
        url = f"https://stream.invalid/?from={from_sequence}"
        answer = await self.objects.fetch("s", url, {"upgrade": "websocket"})
        assert isinstance(answer.web_socket, LocalSocket), answer.body
        return answer.web_socket


def _kinds(frames: str) -> list[str]:
    return [line.removeprefix("event: ") for line in frames.split("\n") if line.startswith("event: ")]


def _socket_frames(socket: LocalSocket) -> list[dict[str, Any]]:
    return [json.loads(line) for message in socket.messages for line in message.split("\n")]


async def _heard(socket: LocalSocket) -> list[str]:
    """Acknowledge as often as the stream asks, and return the events in order."""
    answered = 0
    while (asked := sum(frame["event"] == "ack" for frame in _socket_frames(socket))) > answered:
        answered += 1
        await socket.send("ack")
        assert asked >= answered
    return [frame["event"] for frame in _socket_frames(socket) if frame["event"] != "ack"]


@pytest.mark.parametrize("size", [0, 10_000, 300_000])
async def test_one_flush_is_held_by_pages(size: int) -> None:
    """SM-26, GW-11: Of any flush an idle listener holds its window and one page. It gets the rest when it reads."""
    stream = Stream()
    await stream.write(1)
    events, socket = await stream.events(), await stream.socket()
    events.read()
    socket.messages.clear()
    count = 3_900_000 // max(size, 100)
    await stream.write(count, size)
    largest = max(64 * KB, size + 200)
    assert events.held_bytes <= 256 * KB + largest
    assert sum(len(message) for message in socket.messages) <= 256 * KB + largest
    assert events.read().count("event: chunk") == count
    assert (await _heard(socket)).count("chunk") == count


@pytest.mark.parametrize("wire", ["events", "socket"])
@pytest.mark.parametrize("news", ["reset", "end", "fail", "reset twice", "reset and end"])
async def test_news_reaches_a_listener_behind_a_full_window(wire: str, news: str) -> None:
    """SM-26, SM-32, GW-13: A listener with a full window gets later news after the events that it still gets."""
    stream = Stream()
    await stream.write(1)
    listener: Any = await (stream.events() if wire == "events" else stream.socket())
    if wire == "events":
        listener.read()
    for _ in range(3):
        await stream.write(1, 130_000)
    calls: dict[str, list[Any]] = {
        "reset": [stream.manager.reset_stream],
        "end": [stream.manager.end_stream],
        "fail": [partial(stream.manager.fail_stream, error="no")],
        "reset twice": [stream.manager.reset_stream, stream.manager.reset_stream],
        "reset and end": [stream.manager.reset_stream, stream.manager.end_stream],
    }
    for call in calls[news]:
        await call("s")
        if news.startswith("reset") and call == stream.manager.reset_stream:
            await stream.write(1)
    heard = _kinds(listener.read()) if wire == "events" else await _heard(listener)
    if news.startswith("reset"):
        assert heard.count("truncated") == 1
        assert heard[heard.index("truncated") + 1 :][: 1 + (news == "reset and end")] == (
            ["chunk", "end"] if news == "reset and end" else ["chunk"]
        )
    else:
        assert heard.count("chunk") == 4 - (wire == "events")
        assert heard[-1] == news
    assert listener.is_open is (news in ("reset", "reset twice"))


@pytest.mark.parametrize("wire", ["events", "socket"])
async def test_a_position_of_an_earlier_life_is_told(wire: str) -> None:
    """SM-40: After a reset, or a deletion and a new creation, every listener hears of it, also one that had every chunk."""
    for name, begin_anew in (("reset", "reset_stream"), ("deletion", "delete_stream")):
        stream = Stream()
        await stream.write(3)
        await getattr(stream.manager, begin_anew)("s")
        await stream.write(1)
        for position in (1, 2, 3, 4):
            listener: Any = await (stream.events(position) if wire == "events" else stream.socket(position))
            heard = _kinds(listener.read()) if wire == "events" else await _heard(listener)
            assert heard == (["caught-up"] if position == 4 else ["truncated", "chunk", "caught-up"]), (name, position)
        fresh: Any = await (stream.events() if wire == "events" else stream.socket())
        assert "truncated" not in (_kinds(fresh.read()) if wire == "events" else await _heard(fresh))


async def test_a_sleeping_socket_is_told_of_the_life_it_missed() -> None:
    """SM-40, GW-10: The socket's attachment names the life of the stream that it has heard."""
    stream = Stream()
    await stream.write(2)
    socket = await stream.socket()
    stream.objects.hibernate()
    await stream.manager.reset_stream("s")
    stream.objects.hibernate()
    await stream.write(1)
    assert await _heard(socket) == ["chunk", "chunk", "caught-up", "truncated", "chunk"]


async def test_events_that_nobody_reads_end(caplog: pytest.LogCaptureFixture) -> None:
    """SM-27: A client that reads nothing for a minute is closed: live, behind, or after the end. Clients that read stay."""
    stream = Stream()
    await stream.write(1)
    idle, behind, reading = await stream.events(), await stream.events(), await stream.events()
    for events in (idle, reading):
        events.read()
    await stream.write(4, 130_000)  # nobody reads it but one
    for _ in range(8):
        reading.read()
        await stream.clock.advance(15)
    assert (idle.is_open, behind.is_open, reading.is_open) == (False, False, True)
    assert idle.held_bytes == 0
    assert stream.timers() == 1
    await stream.write(4, 130_000)
    await stream.manager.end_stream("s")
    await stream.clock.advance(120)
    assert reading.is_open is False
    assert stream.timers() == 0
    assert "incident" not in caplog.text


@pytest.mark.parametrize("news", ["delete", "end", "fail", "expiry"])
@pytest.mark.parametrize("size", [10, 60_000, 130_000])
async def test_an_ended_response_that_nobody_reads_is_let_go(news: str, size: int) -> None:
    """SM-27: what a response still holds when the stream has its outcome, or is gone, is dropped after a minute without a read."""
    stream = Stream()
    if news == "expiry":
        stream.manager = DurableObjectStreamManager(stream.objects, buffer_size=100_000, keep_idle=60)
    await stream.write(4, size)
    silent, late = await stream.events(), await stream.events()
    for events in (silent, late):
        events.pull()
    assert silent.held_bytes > 4 * min(size, 60_000)
    if news == "expiry":
        await stream.clock.advance(64)
        assert await stream.manager.get_info("s") is None
    else:
        calls = {"delete": "delete_stream", "end": "end_stream", "fail": "fail_stream"}
        await getattr(stream.manager, calls[news])("s", **({"error": "no"} if news == "fail" else {}))
    await stream.clock.advance(30)
    heard = _kinds(late.read())
    assert heard.count("chunk") >= 2
    await stream.clock.advance(90)
    assert silent.held_bytes == late.held_bytes == 0
    assert silent.was_broken_off
    assert not late.was_broken_off
    assert stream.timers() == 0


async def test_a_slow_reader_of_an_ended_response_stays() -> None:
    """SM-27: a client that reads something each minute gets everything and a clean end."""
    stream = Stream()
    await stream.write(6, 30_000)
    slow = await stream.events()
    slow.pull()
    await stream.manager.delete_stream("s")
    received = ""
    while slow.held_bytes:
        await stream.clock.advance(45)
        received += slow.read_some()
    await stream.clock.advance(45)
    assert not slow.was_broken_off
    assert received.count("event: chunk") == 6
    assert stream.timers() == 0


async def test_a_quiet_stream_keeps_its_readers() -> None:
    """SM-27: A client that has read everything stays, however long the stream is quiet."""
    stream = Stream()
    await stream.write(1)
    events = await stream.events()
    for _ in range(100):
        events.read()
        await stream.clock.advance(15)
    await stream.write(1)
    assert events.read().count("event: chunk") == 1


async def test_acknowledgements_that_nobody_asked_for_end() -> None:
    """GW-12: A few are tolerated, also across sleeps. Then the socket is closed."""
    stream = Stream()
    await stream.write(1)
    socket = await stream.socket()
    sent = 0
    while socket.is_open and sent < 1_000:
        await socket.send("ack")
        sent += 1
        if sent % 10 == 0:
            stream.objects.hibernate()
    assert socket.close_code == 1008
    assert 10 < sent < 50


@pytest.mark.parametrize(("code", "answered"), [(1000, 1000), (3001, 3001), (1005, 1000), (1001, 1000)])
async def test_a_close_is_answered(code: int, answered: int) -> None:
    """GW-12: The object closes its end, after a sleep too. The client's close is clean, and its listener is forgotten."""
    stream = Stream()
    await stream.write(1)
    socket = await stream.socket()
    stream.objects.hibernate()
    await socket.close(code)
    assert socket.close_code == answered
    await stream.write(1)
    assert await _heard(socket) == ["chunk", "caught-up"]
