"""Listeners over WebSockets: frames, sleep, slow clients, and what clients must not do."""

import json
from typing import Any

import pytest

from agents_store_cloudflare.contract.errors import StreamTruncatedError
from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.streams.log import Page, StreamLog
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.streams.socket_sink import MOST_UNASKED
from agents_store_cloudflare.testing import LocalObjects, LocalSocket
from tests.counting_clock import CountingClock

KB = 1024


class Stream:
    """A stream "s", its object, and sockets that listen."""

    def __init__(self) -> None:
        self.clock = CountingClock()
        self.objects = LocalObjects(StreamObject, clock=self.clock)
        # Without an alarm: what is pending in the clock are timers.
        self.manager = DurableObjectStreamManager(self.objects, keep_after_end=None, keep_idle=None)

    async def write(self, *numbers: int, size: int = 0) -> None:
        async with self.manager.create_writer("s", "a", "t") as writer:
            for number in numbers:
                await writer.write({"type": "text", "n": number, "text": "x" * size})

    async def listen(self, from_sequence: int = 0) -> LocalSocket:
        headers = {"upgrade": "websocket", "last-event-id": str(from_sequence)}
        answer = await self.objects.fetch("s", "https://stream.invalid/", headers)
        assert answer.status == 101, answer.body
        assert isinstance(answer.web_socket, LocalSocket)
        return answer.web_socket


def frames(socket: LocalSocket) -> list[dict[str, Any]]:
    return [json.loads(line) for message in socket.messages for line in message.split("\n")]


def seen(socket: LocalSocket) -> list[tuple[int, int]]:
    return [(frame["id"], frame["data"]["n"]) for frame in frames(socket) if frame["event"] == "chunk"]


def kinds(socket: LocalSocket) -> list[str]:
    return [frame["event"] for frame in frames(socket) if frame["event"] != "chunk"]


async def test_a_listener_gets_the_next_chunk_after_the_object_has_slept() -> None:
    """GW-10: The socket keeps its place: no chunk comes twice or is missing, then caught-up once, then the end."""
    stream = Stream()
    await stream.write(1, 2)
    first, second = await stream.listen(), await stream.listen(from_sequence=2)
    stream.objects.hibernate()
    await stream.write(3)
    stream.objects.hibernate()
    await stream.write(4, 5)
    stream.objects.hibernate()
    await stream.manager.end_stream("s")
    assert seen(first) == [(number, number) for number in range(1, 6)]
    assert seen(second) == [(3, 3), (4, 4), (5, 5)]
    for socket in (first, second):
        assert kinds(socket) == ["caught-up", "end"]
        assert socket.close_code == 1000
    stream.objects.hibernate()
    assert (await stream.manager.get_info("s")) is not None


async def test_the_first_thing_an_object_does_may_be_a_new_listener() -> None:
    """GW-10: A new object, and one that has just woken, tells the new socket from the old ones."""
    stream = Stream()
    await stream.write(1)
    sockets: list[LocalSocket] = []
    for number in range(2, 5):
        stream.objects.hibernate()
        sockets.append(await stream.listen())
        stream.objects.hibernate()
        await stream.write(number)
    assert [seen(socket) for socket in sockets] == [[(1, 1), (2, 2), (3, 3), (4, 4)]] * 3


async def test_no_timer_keeps_the_object_awake() -> None:
    """GW-10: Sockets need no timer, however many there are. The platform answers a client's ping."""
    stream = Stream()
    await stream.write(1)
    sockets = [await stream.listen() for _ in range(3)]
    assert stream.clock.pending == set()
    stream.objects.hibernate()
    await sockets[0].send("ping")
    assert sockets[0].messages[-1] == "pong"
    await stream.clock.advance(600)
    assert kinds(sockets[1]) == ["caught-up"]
    await stream.write(2)
    assert seen(sockets[1]) == [(1, 1), (2, 2)]


async def test_a_client_that_owes_an_ack_is_sent_no_more_than_a_window() -> None:
    """GW-11: A client is at most 256 KB and one page ahead of its acks. The rest waits in the log, and others do not wait."""
    stream = Stream()
    await stream.write(0)
    slow, quick = await stream.listen(), await stream.listen()
    for number in range(1, 60):
        await stream.write(number, size=20 * KB)
        if kinds(quick)[-1] == "ack":
            quick.messages.append('{"event":"answered"}')
            await quick.send("ack")
    sent = sum(len(message) for message in slow.messages)
    assert 256 * KB <= sent <= 256 * KB + 64 * KB
    assert kinds(slow) == ["caught-up", "ack"]
    assert seen(quick) == [(number + 1, number) for number in range(60)]
    stream.objects.hibernate()  # what it owes is not forgotten meanwhile
    await stream.write(60)
    assert len(seen(slow)) < 20
    for _ in range(20):
        await slow.send("ack")
    assert seen(slow) == [(number + 1, number) for number in range(61)]
    await stream.manager.end_stream("s")
    assert kinds(slow)[-1] == "end"
    assert slow.close_code == 1000


async def test_catching_up_stops_at_the_window() -> None:
    """GW-11: A long backlog comes page by page, one for each ack, and the end comes after it."""
    stream = Stream()
    for number in range(40):
        await stream.write(number, size=50 * KB)
    await stream.manager.end_stream("s")
    socket = await stream.listen()
    most = 0
    while socket.is_open:
        before = sum(len(message) for message in socket.messages)
        stream.objects.hibernate()
        await socket.send("ack")
        most = max(most, sum(len(message) for message in socket.messages) - before)
    assert most <= 320 * KB
    assert seen(socket) == [(number + 1, number) for number in range(40)]
    assert [kind for kind in kinds(socket) if kind != "ack"] == ["caught-up", "end"]
    assert kinds(socket)[-1] == "end"


async def test_an_ack_that_nobody_asked_for_changes_nothing() -> None:
    """GW-11: An extra ack gives no more room."""
    stream = Stream()
    await stream.write(0)
    socket = await stream.listen()
    for _ in range(10):
        await socket.send("ack")
    for number in range(1, 60):
        await stream.write(number, size=20 * KB)
    assert sum(len(message) for message in socket.messages) <= 256 * KB + 64 * KB


async def test_a_client_of_acks_that_nobody_asked_for_is_closed() -> None:
    """GW-12: After 32 of them the socket is closed with 1008. The count survives the sleep of the object; others go on."""
    stream = Stream()
    await stream.write(1)
    talker, other = await stream.listen(), await stream.listen()
    for number in range(MOST_UNASKED):
        if number % 5 == 0:
            stream.objects.hibernate()
        await talker.send("ack")
    before = talker.close_code
    await talker.send("ack")
    assert (before, talker.close_code) == (None, 1008)
    await stream.write(2)
    assert seen(talker) == [(1, 1)]
    assert seen(other) == [(1, 1), (2, 2)]


@pytest.mark.parametrize("message", ["", "hello", "ACK", '{"event":"ack"}', "ping "])
async def test_a_listener_that_talks_is_closed(message: str) -> None:
    """GW-12: Every message wakes the object, so the socket is closed with 1008. Others go on."""
    stream = Stream()
    await stream.write(1)
    talker, other = await stream.listen(), await stream.listen()
    stream.objects.hibernate()
    await talker.send(message)
    assert talker.close_code == 1008
    await stream.write(2)
    assert seen(talker) == [(1, 1)]
    assert seen(other) == [(1, 1), (2, 2)]


async def test_a_socket_that_closes_is_forgotten() -> None:
    """GW-12: With or without a close message the socket is forgotten, and the append goes on."""
    stream = Stream()
    await stream.write(1)
    said, silent, last = [await stream.listen() for _ in range(3)]
    await said.close()
    silent.break_off()
    await stream.write(2)
    assert seen(last) == [(1, 1), (2, 2)]
    stream.objects.hibernate()
    await last.close()
    await stream.write(3)
    assert seen(last) == [(1, 1), (2, 2)]


@pytest.mark.parametrize("attachment", ["", "{}", "[1]", "null", '{"key": 1}', "not json"])
async def test_an_attachment_of_other_code_closes_the_socket(attachment: str) -> None:
    """GW-12: The socket is closed with 1012, and the client comes back with its position. Nothing fails."""
    stream = Stream()
    await stream.write(1)
    socket, other = await stream.listen(), await stream.listen()
    socket.server.attach(attachment)
    stream.objects.hibernate()
    await stream.write(2)
    assert socket.close_code == 1012
    assert seen(other) == [(1, 1), (2, 2)]
    late = await stream.listen()
    late.server.attach(attachment)
    await late.send("ack")
    assert late.close_code == 1012


async def test_a_restart_breaks_connections_and_loses_nothing() -> None:
    """GW-10: A reset object loses its sockets. A client that comes back with its position has every chunk once."""
    stream = Stream()
    await stream.write(1)
    before = await stream.listen()
    stream.objects.restart()
    assert before.close_code == 1006
    await stream.write(2)
    after = await stream.listen(from_sequence=seen(before)[-1][0])
    assert seen(before) + seen(after) == [(1, 1), (2, 2)]


async def test_a_listener_that_cannot_be_served_is_let_go_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """GW-12: Only its socket is closed, and the log has the cause."""
    stream = Stream()
    await stream.write(1)
    broken, other = await stream.listen(), await stream.listen()

    def fails(_text: str) -> bool:
        raise OSError("a broken wire")

    monkeypatch.setattr(broken.server, "send", fails)
    await stream.write(2)
    assert not broken.is_open
    assert seen(other) == [(1, 1), (2, 2)]
    assert "a broken wire" in caplog.text


@pytest.mark.parametrize("wire", ["socket", "events"])
async def test_what_is_no_longer_kept_is_said_once(wire: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """GW-13: A listener below the floor hears once which chunks are gone, and continues with the oldest kept chunk."""
    stream = Stream()
    await stream.write(1, 2, 3, 4)
    read = StreamLog.read

    def read_above_the_floor(log: StreamLog, from_sequence: int, *, max_bytes: int) -> Page:
        if from_sequence < 2:
            raise StreamTruncatedError("s", from_sequence=from_sequence, first_sequence=3)
        return read(log, from_sequence, max_bytes=max_bytes)

    monkeypatch.setattr(StreamLog, "read", read_above_the_floor)
    headers = {"upgrade": "websocket"} if wire == "socket" else {}
    answer: Any = await stream.objects.fetch("s", "https://stream.invalid/?from=1", headers)
    if wire == "socket":
        assert frames(answer.web_socket)[0]["data"] == {"fromSequence": 1, "firstSequence": 3}
        assert seen(answer.web_socket) == [(3, 3), (4, 4)]
        assert kinds(answer.web_socket) == ["truncated", "caught-up"]
    else:
        said = answer.body.read()
        assert said.startswith('event: truncated\ndata: {"fromSequence":1,"firstSequence":3}\n\nid: 3\nevent: chunk\n')
        assert said.count("event: truncated") == 1


async def test_listeners_hear_of_a_reset_and_of_a_deletion() -> None:
    """GW-13, SM-32, SM-33: On both wires, also after a sleep, listeners get `truncated` and a close."""
    stream = Stream()
    await stream.write(1)
    socket = await stream.listen()
    stream.objects.hibernate()
    events: Any = (await stream.objects.fetch("s", "https://stream.invalid/?from=1", {})).body
    events.read()
    await stream.manager.reset_stream("s")
    assert frames(socket)[-1] == {"event": "truncated", "data": {"fromSequence": 1, "firstSequence": 2}}
    assert "event: truncated" in events.read()
    await stream.write(2)
    assert seen(socket) == [(1, 1), (2, 2)]
    await stream.manager.delete_stream("s")
    assert (socket.is_open, events.is_open) == (False, False)
    assert events.read().count("event: chunk") == 1
    await stream.clock.advance(1)
    assert stream.clock.pending == set()
