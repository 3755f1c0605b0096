"""A stream's life where the platform shows: alarms, rows, timers, and crashes in adaptive mode."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, LiteralString, cast

import pytest

from agents_store_cloudflare.contract.errors import StreamError, StreamNotFoundError
from agents_store_cloudflare.database import Row, SqlError, SqlValue
from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.objects import ObjectHost
from agents_store_cloudflare.streams import sql as q
from agents_store_cloudflare.streams.log import CEILING_STEP, StreamLog
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.streams.options import StreamOptions
from agents_store_cloudflare.streams.reader import DurableObjectStreamReader
from agents_store_cloudflare.testing import FakeClock, LocalObjects, SqliteObjectSql

NOW_MS = 1_700_000_000_000
HOUR_S = 3_600
DAY_S = 24 * HOUR_S


@dataclass
class Platform:
    """An object's platform that records its alarms and can fail. Its object can crash and start again."""

    host: ObjectHost
    alarms: list[int | None]
    failures: list[str] = field(default_factory=list[str])

    @property
    def sql(self) -> "Platform":
        return self

    def exec(self, sql: LiteralString, *parameters: SqlValue) -> list[Row]:
        if sql == q.INSERT_BLOCK and self.failures:
            raise SqlError(self.failures.pop())
        return self.host.sql.exec(sql, *parameters)

    def long_text(self, sql: LiteralString, *parameters: SqlValue) -> str:
        return self.host.sql.long_text(sql, *parameters)

    def transaction(self, body: Any) -> Any:
        return self.host.sql.transaction(body)

    def now_ms(self) -> int:
        return self.host.now_ms()

    def set_alarm(self, at_ms: int | None) -> None:
        self.alarms.append(at_ms)
        self.host.set_alarm(at_ms)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.host, name)


class Stream:
    """A manager, the object behind it, and the object's calls to its platform."""

    def __init__(self, **options: Any) -> None:
        self.clock = FakeClock(NOW_MS)
        self.alarms: list[int | None] = []
        self.platforms: list[Platform] = []
        self.objects = LocalObjects(self._make, clock=self.clock)
        given: dict[str, Any] = {"now_ms": self.clock.now_ms, "sleep": self.clock.sleep, **options}
        self.manager = DurableObjectStreamManager(self.objects, options=StreamOptions(**given))

    def _make(self, host: ObjectHost) -> StreamObject:
        self.platforms.append(Platform(host, self.alarms))
        return StreamObject(cast("ObjectHost", self.platforms[-1]))

    def rows(self) -> list[Row]:
        return self.platforms[-1].host.sql.exec("SELECT first_sequence, count FROM blocks ORDER BY first_sequence")

    async def write(self, *numbers: int) -> int:
        writer = await self.manager.create_writer("s", "agent", "researcher")
        for number in numbers:
            await writer.write({"type": "text", "n": number})
        return await writer.close()

    async def numbers(self, wanted: int) -> list[int]:
        reader = await self.manager.create_reader("s")
        return [await _next(reader) for _ in range(wanted)]


async def _next(reader: DurableObjectStreamReader) -> int:
    chunk: Any = await anext(reader)
    return int(chunk["n"])


@pytest.fixture
def stream() -> Iterator[Stream]:
    stream = Stream()
    yield stream
    stream.objects.close()


async def test_one_alarm_serves_a_stream_that_ends_soon(stream: Stream) -> None:
    """SM-35: The alarm is set at the creation, not by appends or the end. When it rings, one row is left."""
    await stream.write(1, 2)
    await stream.clock.advance(HOUR_S / 2)
    await stream.write(3)
    await stream.manager.end_stream("s")
    assert stream.alarms == [NOW_MS + 25 * HOUR_S * 1_000]
    await stream.clock.advance(DAY_S - 1)
    assert await stream.manager.get_info("s") is not None
    await stream.clock.advance(HOUR_S)
    assert stream.rows() == [[0, 0]]
    assert await stream.manager.get_info("s") is None
    assert await stream.write(4) == 4


async def test_an_alarm_that_comes_too_early_is_set_again(stream: Stream) -> None:
    """SM-35: The alarm of an open stream rings at the end of its idle time, and after its end in time."""
    await stream.write(1)
    await stream.clock.advance(26 * HOUR_S)
    idle_ms = NOW_MS + 7 * DAY_S * 1_000
    assert stream.alarms == [NOW_MS + 25 * HOUR_S * 1_000, idle_ms]
    await stream.manager.end_stream("s")
    assert stream.alarms[2:] == [stream.clock.now_ms() + 25 * HOUR_S * 1_000]
    stream.objects.restart()
    await stream.clock.advance(25 * HOUR_S)
    assert stream.rows() == [[0, 0]]


async def test_an_idle_stream_goes_by_alarm(stream: Stream) -> None:
    """SM-35: An idle stream is deleted seven days after its last change, without any call."""
    await stream.write(1)
    await stream.clock.advance(6 * DAY_S)
    await stream.write(2)
    await stream.clock.advance(6 * DAY_S)
    assert stream.rows() == [[0, 0], [1, 1], [2, 1]]
    await stream.clock.advance(DAY_S)
    assert stream.rows() == [[0, 0]]


async def test_what_is_kept_for_ever_has_no_alarm() -> None:
    """SM-35: A retention of None keeps the stream and sets no alarm."""
    stream = Stream(keep_after_end=None, keep_idle=None)
    await stream.write(1)
    await stream.manager.end_stream("s")
    await stream.manager.reset_stream("s")
    await stream.clock.advance(400 * DAY_S)
    assert stream.alarms == []
    assert await stream.manager.get_info("s") is not None


async def test_retention_is_the_streams_own(stream: Stream) -> None:
    """SM-35: The options of a later writer's manager change nothing."""
    await stream.write(1)
    other = DurableObjectStreamManager(stream.objects, keep_after_end=None, keep_idle=None)
    await (await other.create_writer("s", "agent", "researcher")).close()
    await other.end_stream("s")
    await stream.clock.advance(DAY_S)
    assert await other.get_info("s") is None


async def test_a_flush_is_recognised_after_a_reset_and_a_deletion() -> None:
    """SM-9, SM-32, SM-33: After its chunks are gone, a repeated flush is still recognised, after a restart too."""
    sql = SqliteObjectSql()
    log = StreamLog(sql, "s")
    log.create(now_ms=NOW_MS)
    log.append("1\n2", writer="w", writer_sequence=1, now_ms=NOW_MS)
    log.reset(now_ms=NOW_MS)
    for again in (log, StreamLog(sql, "s")):
        assert again.append("1\n2", writer="w", writer_sequence=1, now_ms=NOW_MS).is_repetition
    log.delete(now_ms=NOW_MS)
    anew = StreamLog(sql, "s")
    anew.create(now_ms=NOW_MS)
    assert anew.append("1\n2", writer="w", writer_sequence=1, now_ms=NOW_MS).is_repetition
    assert anew.append("3", writer="w", writer_sequence=2, now_ms=NOW_MS).first_sequence == 3
    sql.close()


async def test_a_deletion_leaves_one_row(stream: Stream) -> None:
    """SM-33: Only the numbering and the fence stay, however many chunks there were."""
    for number in range(20):
        await stream.write(number)
    assert len(stream.rows()) == 21
    await stream.manager.delete_stream("s")
    assert stream.rows() == [[0, 0]]
    stream.objects.restart()
    assert await stream.manager.get_info("s") is None
    with pytest.raises(StreamNotFoundError):
        await stream.manager.create_reader("s")


async def test_adaptive_chunks_are_stored_in_blocks() -> None:
    """SM-27, SM-36: Many writes within a window are one row. Without further writes no timer is left and no number is lost."""
    stream = Stream(adaptive=True, loss_window=1, keep_idle=None)
    writer = await stream.manager.create_writer("s", "agent", "researcher")
    for number in range(1, 51):
        await writer.write({"type": "text", "n": number})
        await stream.clock.advance(0.01)
    assert stream.rows() == [[0, 0]]
    assert await stream.numbers(50) == list(range(1, 51))
    await stream.clock.advance(0.6)
    assert stream.rows() == [[0, 0], [1, 50]]
    await stream.clock.advance(10)
    stream.objects.restart()
    assert await stream.write(51) == 51
    info = await stream.manager.get_info("s")
    assert info is not None
    assert (info.count, info.last_sequence) == (51, 51)


async def test_a_crash_loses_the_window_and_no_more() -> None:
    """SM-36: Stored and flushed chunks survive. The numbers continue above the ceiling, and the writer hears of the loss once."""
    stream = Stream(adaptive=True, loss_window=1, keep_idle=None)
    writer = await stream.manager.create_writer("s", "agent", "researcher")
    reader = await stream.manager.create_reader("s")
    for number in range(1, 4):
        await writer.write({"type": "text", "n": number})
    await stream.clock.advance(1)  # the window: 1 to 3 are stored
    await writer.write({"type": "text", "n": 4})
    assert await writer.flush() == 4
    for number in (5, 6):
        await writer.write({"type": "text", "n": number})
    seen = [(await anext(reader))["n"] for _ in range(6)]
    assert (seen, reader.sequence) == ([1, 2, 3, 4, 5, 6], 6)
    stream.objects.restart()
    await writer.write({"type": "text", "n": 7})
    with pytest.raises(StreamError, match=r"2 chunks .* lost"):
        await writer.flush()
    last = await writer.flush()
    assert 6 < last <= 6 + 2 * CEILING_STEP
    assert (await anext(reader))["n"] == 7
    assert reader.sequence == last
    await stream.clock.advance(3)  # nothing is shown early any more: this restart skips no number
    stream.objects.restart()
    assert await stream.numbers(5) == [1, 2, 3, 4, 7]
    info = await stream.manager.get_info("s")
    assert info is not None
    assert (info.count, info.first_sequence, info.last_sequence) == (5, 1, last)
    assert await writer.close() == last
    assert await stream.write(8) == last + 1
    await stream.manager.end_stream("s")
    resumed = await stream.manager.create_resumable_reader("s", 5)
    assert [(resumed.sequence, chunk["n"]) async for chunk in resumed] == [(last, 7), (last + 1, 8)]


async def test_a_reader_waits_above_lost_numbers() -> None:
    """SM-16, SM-36: A reader whose last chunk a crash has lost waits without repeated questions, and then continues."""
    stream = Stream(adaptive=True, loss_window=1, keep_idle=None)
    writer = await stream.manager.create_writer("s", "agent", "researcher")
    await writer.write({"type": "text", "n": 1})
    reader = await stream.manager.create_reader("s")
    assert (await anext(reader))["n"] == 1
    stream.objects.restart()
    waiting = asyncio.ensure_future(_next(reader))
    await stream.clock.advance(1)
    before = stream.objects.calls
    await stream.clock.advance(10)
    assert stream.objects.calls == before
    await writer.write({"type": "text", "n": 2})
    assert await waiting == 2


async def test_what_cannot_be_stored_now_is_stored_later(caplog: pytest.LogCaptureFixture) -> None:
    """SM-36: If the database fails at the end of a window, the chunks are stored at the end of the next one."""
    stream = Stream(adaptive=True, loss_window=1, keep_idle=None)
    writer = await stream.manager.create_writer("s", "agent", "researcher")
    await writer.write({"type": "text", "n": 1})
    stream.platforms[-1].failures.append("disk I/O error")
    await stream.clock.advance(1)
    assert stream.rows() == [[0, 0]]
    assert "incident" in caplog.text
    await stream.clock.advance(1)
    assert stream.rows() == [[0, 0], [1, 1]]
    stream.platforms[-1].failures.append("disk I/O error")
    await writer.write({"type": "text", "n": 2})
    with pytest.raises(StreamError):
        await writer.flush()
    assert await writer.flush() == 2
    assert stream.rows() == [[0, 0], [1, 1], [2, 1]]


async def test_a_writer_is_told_of_its_loss_after_several_restarts() -> None:
    """SM-36: Others have stored chunks above the lost numbers. Each lost chunk is reported once, and stored ones never."""
    stream = Stream(adaptive=True, loss_window=1, keep_idle=None)
    writer = await stream.manager.create_writer("s", "agent", "researcher")
    await writer.write({"type": "text", "n": 1})
    await stream.clock.advance(1)  # the window: 1 is stored
    for number in (2, 3):
        await writer.write({"type": "text", "n": number})
    stream.objects.restart()
    other = await stream.manager.create_writer("s", "agent", "researcher")
    await other.write({"type": "text", "n": 4})
    await other.flush()
    stream.objects.restart()
    await writer.write({"type": "text", "n": 5})
    stream.objects.restart()
    with pytest.raises(StreamError, match=r"3 chunks .* lost"):
        await writer.flush()
    await writer.flush()
    await other.close()
    await writer.close()


async def test_what_was_dropped_on_purpose_is_not_lost() -> None:
    """SM-36: A truncation or a reset between two restarts is not reported as a crash."""
    for drop in ("truncate", "reset"):
        stream = Stream(adaptive=True, loss_window=1, keep_idle=None)
        writer = await stream.manager.create_writer("s", "agent", "researcher")
        await writer.write({"type": "text", "n": 1})
        if drop == "truncate":
            await stream.manager.truncate_stream("s", 2)
        else:
            await stream.manager.reset_stream("s")
        stream.objects.restart()
        await writer.flush()
        await writer.close()
