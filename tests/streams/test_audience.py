"""The push side of a stream's object: frames, catch-up, slow sinks, heartbeats."""

import asyncio
import json
from typing import Any

import pytest

from agents_store_cloudflare.contract.errors import InvalidArgumentError, SequenceConflictError, StreamNotFoundError
from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.objects import ObjectHost
from agents_store_cloudflare.streams.audience import Audience
from agents_store_cloudflare.streams.log import StreamLog
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.streams.reader import DurableObjectStreamReader
from agents_store_cloudflare.streams.sse import parse_position
from agents_store_cloudflare.streams.subscription import Place
from agents_store_cloudflare.testing import LocalObjects
from tests.counting_clock import CountingClock


class Sink:
    """A sink with room for `room` pushes."""

    def __init__(self, room: int = 1_000_000) -> None:
        self.room = room
        self.frames: list[str] = []
        self.is_closed = False
        self.place = Place(0)

    def push(self, frames: str) -> bool:
        if self.room == 0:
            return False
        self.room -= 1
        self.frames.append(frames)
        return True

    def has_read(self) -> bool:
        return True

    def remember(self, place: Place) -> None:
        self.place = place

    def close(self) -> None:
        self.is_closed = True

    def break_off(self) -> None:
        self.is_closed = True

    def events(self) -> list[tuple[str, str | None, Any]]:
        found: list[tuple[str, str | None, Any]] = []
        for frame in "".join(self.frames).split("\n\n")[:-1]:
            fields = dict(line.split(": ", 1) for line in frame.split("\n"))
            if "event" in fields:
                found.append((fields["event"], fields.get("id"), json.loads(fields["data"])))
        return found


class Stream:
    """A manager and the object behind it."""

    def __init__(self) -> None:
        self.clock = CountingClock()
        self.objects: list[StreamObject] = []
        self.namespace = LocalObjects(self._make, clock=self.clock)
        # Without an alarm: what is pending in the clock are timers.
        self.manager = DurableObjectStreamManager(self.namespace, keep_after_end=None, keep_idle=None)

    def _make(self, host: ObjectHost) -> StreamObject:
        self.objects.append(StreamObject(host))
        return self.objects[-1]

    async def write(self, *numbers: int) -> None:
        async with self.manager.create_writer("s", "a", "t") as writer:
            for number in numbers:
                await writer.write({"type": "text", "n": number})

    def timers(self) -> int:
        """Return how many timers are pending."""
        return len(self.clock.pending)

    def subscribe(self, sink: Sink, from_sequence: int = 0) -> Any:
        subscription = self.objects[-1].subscribe("s", from_sequence, sink)
        subscription.pull()
        return subscription


async def _rest(reader: DurableObjectStreamReader) -> list[Any]:
    return [chunk async for chunk in reader]


def _seen(sink: Sink) -> list[tuple[str, int]]:
    return [(id_ or "", data["n"]) for event, id_, data in sink.events() if event == "chunk"]


async def test_stored_chunks_then_caught_up_then_live_ones_then_the_end() -> None:
    """SM-25: Chunk frames carry their sequence as id, caught-up comes once, and the end closes."""
    stream, sink = Stream(), Sink()
    await stream.write(1, 2)
    stream.subscribe(sink, from_sequence=1)
    assert [event[0] for event in sink.events()] == ["chunk", "caught-up"]
    await stream.write(3, 4)
    await stream.manager.end_stream("s", {"a": 1.0})
    assert _seen(sink) == [("2", 2), ("3", 3), ("4", 4)]
    assert sink.events()[1] == ("caught-up", None, {"sequence": 2})
    assert sink.events()[-1] == ("end", None, {"status": "completed", "output": {"a": 1.0}})
    assert sink.is_closed
    late = Sink()
    stream.subscribe(late, from_sequence=4)
    assert [event[0] for event in late.events()] == ["caught-up", "end"]
    assert late.is_closed


async def test_a_failed_stream_says_so() -> None:
    """SM-25: The frame `fail` has the error text."""
    stream, sink = Stream(), Sink()
    await stream.write(1)
    stream.subscribe(sink)
    await stream.manager.fail_stream("s", "no\n\n🎉")
    assert sink.events()[-1] == ("fail", None, {"error": "no\n\n🎉"})
    assert sink.is_closed


async def test_a_slow_sink_falls_behind_and_catches_up() -> None:
    """SM-26: Chunks that a full sink does not take wait in the log. Other sinks do not wait, and nothing is lost or doubled."""
    stream, slow, fast = Stream(), Sink(room=2), Sink()
    await stream.write(1)
    subscription = stream.subscribe(slow)
    stream.subscribe(fast)
    for number in range(2, 8):
        await stream.write(number)
    assert _seen(slow) == [("1", 1), ("2", 2)]
    assert _seen(fast) == [(str(number), number) for number in range(1, 8)]
    slow.room = 1_000_000
    subscription.pull()
    await stream.write(8)
    slow.room = 0
    await stream.manager.end_stream("s")
    slow.room = 1
    assert not slow.is_closed
    subscription.pull()
    assert _seen(slow) == [(str(number), number) for number in range(1, 9)]
    assert [event[0] for event in slow.events()].count("caught-up") == 1
    assert slow.events()[-1][0] == "end"
    assert slow.is_closed


async def test_catch_up_goes_page_by_page() -> None:
    """SM-26: Each pull of a listener that is behind gives one page."""
    stream, sink = Stream(), Sink()
    for number in range(5):
        async with stream.manager.create_writer("s", "a", "t") as writer:
            await writer.write({"type": "text", "n": number, "text": "x" * 100_000})
    subscription = stream.subscribe(sink)
    assert len(_seen(sink)) == 1
    for _ in range(10):
        subscription.pull()
    assert _seen(sink) == [(str(number + 1), number) for number in range(5)]


async def test_caught_up_is_said_once_in_a_listeners_life() -> None:
    """SM-25: Caught-up does not come again after a listener has fallen behind, whatever number of pages follows."""
    stream, sink = Stream(), Sink(room=1)
    await stream.write(0)
    subscription = stream.subscribe(sink)
    for number in range(1, 5):
        async with stream.manager.create_writer("s", "a", "t") as writer:
            await writer.write({"type": "text", "n": number, "text": "x" * 100_000})
    sink.room = 1_000_000
    for _ in range(10):
        subscription.pull()
    await stream.write(5)
    assert _seen(sink) == [(str(number + 1), number) for number in range(6)]
    assert [event[0] for event in sink.events()].count("caught-up") == 1


async def test_heartbeats_only_while_somebody_listens() -> None:
    """SM-27: Listeners get a comment every 15 s. No timer is left when the last listener has gone."""
    stream, sink = Stream(), Sink()
    await stream.write(1)
    subscription = stream.subscribe(sink)
    await stream.clock.advance(46)
    assert sink.frames.count(": keep-alive\n\n") == 3
    subscription.cancel()
    assert stream.timers() == 0
    await stream.clock.advance(60)
    assert sink.frames.count(": keep-alive\n\n") == 3


async def test_no_timer_is_left_when_a_waiting_reader_is_answered() -> None:
    """SM-27: A long-poll that ends removes its timer, so that the object may sleep."""
    stream = Stream()
    await stream.write(1)
    reader = await stream.manager.create_reader("s")
    assert (await anext(reader))["n"] == 1
    waiting = asyncio.ensure_future(_rest(reader))
    await stream.clock.advance(1)
    assert stream.timers() == 1
    await stream.manager.end_stream("s")
    assert await waiting == []
    assert stream.timers() == 0


async def test_a_position_that_is_not_there() -> None:
    """SM-25: Unknown streams and positions above the last are refused before anything is sent."""
    stream = Stream()
    with pytest.raises(StreamNotFoundError):
        await stream.manager.create_reader("s")
    with pytest.raises(StreamNotFoundError):
        stream.subscribe(Sink())
    await stream.write(1)
    with pytest.raises(SequenceConflictError):
        stream.subscribe(Sink(), from_sequence=2)


class BrokenSink(Sink):
    """Raises at the given push (1, 2 …), and at `close`."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at = at

    def push(self, frames: str) -> bool:
        if len(self.frames) + 1 == self._at:
            raise TypeError("no such thing as room")
        return super().push(frames)

    def close(self) -> None:
        super().close()
        raise TypeError("cannot be closed either")


@pytest.mark.parametrize("outcome", ["append", "end", "keep-alive"])
async def test_a_sink_that_raises_is_let_go_and_harms_nobody(outcome: str, caplog: pytest.LogCaptureFixture) -> None:
    """SM-26: The append, the end or the heartbeat goes on. Other listeners get everything, and the log has the cause."""
    stream = Stream()
    await stream.write(1)
    sinks = [Sink(), BrokenSink(at=2), Sink(), BrokenSink(at=2), Sink()]
    for sink in sinks:
        stream.subscribe(sink)
    if outcome == "append":
        await stream.write(2)
    elif outcome == "keep-alive":
        await stream.clock.advance(16)
    await stream.manager.end_stream("s")
    expected = [("1", 1), ("2", 2)] if outcome == "append" else [("1", 1)]
    for sink in sinks:
        is_broken = isinstance(sink, BrokenSink)
        assert _seen(sink) == (expected[:1] if is_broken else expected)
        assert (sink.events()[-1][0] == "end") is not is_broken
        assert sink.is_closed
    assert caplog.text.count("incident") == 2
    assert caplog.text.count("\nTypeError: no such thing as room") == 2
    assert stream.timers() == 0


async def test_a_log_that_cannot_be_read_costs_its_listener_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """SM-26, SM-27: A `pull` never raises. Its listener is closed and forgotten, and the last one's timer too."""
    stream, live, dead = Stream(), Sink(), Sink()
    await stream.write(1)
    stream.subscribe(live)

    def broken(*_arguments: Any, **_options: Any) -> None:
        raise OSError("disk")

    with monkeypatch.context() as patch:
        patch.setattr(StreamLog, "read", broken)
        stream.subscribe(dead)
    assert dead.is_closed
    assert dead.frames == []
    assert "disk" in caplog.text
    assert "incident" in caplog.text
    await stream.write(2)
    await stream.manager.end_stream("s")
    assert _seen(live) == [("1", 1), ("2", 2)]
    assert dead.frames == []
    assert stream.timers() == 0


def _say_nothing(*_arguments: object) -> None:
    """Replace a method and send nothing."""


@pytest.mark.parametrize("last", [2, 3])
async def test_a_listener_never_skips_a_block(
    last: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """SM-26: A listener that missed a block is closed at the next block or at the end, and comes back with its real position."""
    stream, sink, late = Stream(), Sink(), Sink()
    await stream.write(1)
    subscription = stream.subscribe(sink)
    with monkeypatch.context() as patch:
        patch.setattr(Audience, "appended", _say_nothing)
        await stream.write(2)
    if last == 3:
        await stream.write(3)
    await stream.manager.end_stream("s")
    assert _seen(sink) == [("1", 1)]
    assert [event[0] for event in sink.events()] == ["chunk", "caught-up"]
    assert subscription.sequence == 1
    assert sink.is_closed
    assert "incident" in caplog.text
    stream.subscribe(late, from_sequence=subscription.sequence)
    assert _seen(late) == [("2", 2), ("3", 3)][: last - 1]
    assert late.events()[-1][0] == "end"


def test_positions_from_requests() -> None:
    """SM-25: `Last-Event-ID` wins over `from`. Any text but a whole number is refused."""
    assert parse_position(None, None) == 0
    assert parse_position("7", "3") == 7
    assert parse_position("", "3") == 3
    for bad in ("-1", "1.0", "x", " 1", "1 ", "٣", "9" * 16, "1" * 17, "0x1"):
        with pytest.raises(InvalidArgumentError, match="Last-Event-ID"):
            parse_position(bad, None)
        with pytest.raises(InvalidArgumentError, match="from"):
            parse_position(None, bad)
    with pytest.raises(InvalidArgumentError, match="from"):
        parse_position(None, "")
