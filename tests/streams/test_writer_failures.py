"""What becomes of a writer's chunk when its write is refused, cancelled, or cannot be put on a timer."""

import asyncio
import random
from collections.abc import Awaitable
from typing import Any

import pytest

from agents_store_cloudflare.contract.errors import (
    SequenceConflictError,
    StreamChunkTooLargeError,
    StreamClosedError,
    StreamConnectionError,
    StreamError,
)
from agents_store_cloudflare.contract.json_values import encode_json
from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.objects import ObjectCallError
from agents_store_cloudflare.streams import blocks
from agents_store_cloudflare.streams.log import StreamLog
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.streams.options import StreamOptions
from agents_store_cloudflare.streams.writer import DurableObjectStreamWriter
from agents_store_cloudflare.streams.writer_buffer import Batch, WriterBuffer
from agents_store_cloudflare.testing import LocalObjects
from agents_store_cloudflare.testing.faults import FaultyNamespace
from tests.lengths import length


class GatedNamespace:
    """Objects behind a gate: while it is shut, calls wait before it or, having taken effect, behind it."""

    def __init__(self, objects: LocalObjects) -> None:
        self._objects = objects
        self._open = asyncio.Event()
        self._open.set()
        self.is_before = True

    def shut(self, *, before: bool) -> None:
        self.is_before = before
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    async def call(self, name: str, request: str) -> str:
        if self.is_before:
            await self._open.wait()
            return await self._objects.call(name, request)
        reply = await self._objects.call(name, request)
        await self._open.wait()
        return reply


async def _no_pause(_seconds: float) -> None:
    await asyncio.sleep(0)


def _manager(namespace: object, **options: Any) -> DurableObjectStreamManager:
    given: dict[str, Any] = {"sleep": _no_pause, "flush_interval": 60, **options}
    return DurableObjectStreamManager(namespace, options=StreamOptions(**given))


def _chunk(number: int) -> dict[str, Any]:
    return {"type": "x", "n": number}


def _pending(writer: DurableObjectStreamWriter) -> list[Any]:
    return [chunk["n"] for chunk in writer.pending]


async def _settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def _cancelled(work: Awaitable[None]) -> None:
    """Start a call, and cancel it once it hangs."""
    task = asyncio.ensure_future(work)
    await _settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def _stored(objects: LocalObjects) -> list[Any]:
    manager = _manager(objects)
    await manager.end_stream("s")
    async with manager.create_reader("s") as reader:
        return [chunk["n"] async for chunk in reader]


async def _another_writer_stores(objects: LocalObjects, number: int) -> None:
    async with _manager(objects).create_writer("s", "other", "t") as other:
        await other.write(_chunk(number))


async def _with_unsettled_condition(objects: LocalObjects, **options: Any) -> DurableObjectStreamWriter:
    """Return a writer whose chunk 1 expects sequence 1, which another writer took first."""
    faulty = FaultyNamespace(objects)
    writer = await _manager(faulty, **options).create_writer("s", "a", "t")
    faulty.fail("before", "before", "before", "before")
    with pytest.raises(StreamConnectionError) as caught:
        await writer.write(_chunk(1), expected_sequence=1)
    assert caught.value.outcome_unknown
    assert _pending(writer) == [1]
    await _another_writer_stores(objects, 100)
    return writer


async def test_a_refused_condition_takes_its_chunk_along() -> None:
    """SM-11: After a refused `expected_sequence` its chunk is never stored, whatever is flushed later."""
    objects = LocalObjects(StreamObject)
    writer = await _with_unsettled_condition(objects)
    with pytest.raises(SequenceConflictError) as caught:
        await writer.flush()
    assert (caught.value.expected, caught.value.actual, caught.value.outcome_unknown) == (1, 2, False)
    assert _pending(writer) == []
    assert await writer.flush() == 0
    await writer.write(_chunk(2))
    assert await writer.close() == 2
    assert await _stored(objects) == [100, 2]


async def test_a_write_that_meets_a_refused_condition_may_be_repeated() -> None:
    """SM-10, SM-11: The write that raises an earlier refusal has not taken its own chunk."""
    objects = LocalObjects(StreamObject)
    writer = await _with_unsettled_condition(objects)
    with pytest.raises(SequenceConflictError):
        await writer.write(_chunk(2))
    assert _pending(writer) == []
    await writer.write(_chunk(2))
    assert await writer.close() == 2
    assert await _stored(objects) == [100, 2]


async def test_a_condition_refused_for_another_reason_takes_its_chunk_along() -> None:
    """SM-11: Any other refusal drops the chunk too, for example after the end of the stream."""
    objects = LocalObjects(StreamObject)
    writer = await _with_unsettled_condition(objects)
    await _manager(objects).end_stream("s")
    with pytest.raises(StreamClosedError):
        await writer.flush()
    assert _pending(writer) == []
    assert await writer.close() == 0


async def test_a_condition_refused_behind_a_timer_surfaces_at_the_next_call(caplog: pytest.LogCaptureFixture) -> None:
    """SM-10, SM-11: A flush by timer leaves the refused chunk to the next call, which raises."""
    objects = LocalObjects(StreamObject)
    faulty = FaultyNamespace(objects)
    kept: list[Awaitable[None]] = []
    time_is_up = asyncio.Event()

    async def sleep(seconds: float) -> None:
        await (time_is_up.wait() if seconds == 60 else asyncio.sleep(0))

    writer = await _manager(faulty, sleep=sleep, wait_until=kept.append).create_writer("s", "a", "t")
    await writer.write(_chunk(0))
    await writer.flush()
    faulty.fail("before", "before", "before", "before")
    with pytest.raises(StreamConnectionError):
        await writer.write(_chunk(1), expected_sequence=2)
    await _another_writer_stores(objects, 100)
    time_is_up.set()
    await asyncio.gather(*kept)
    assert "SequenceConflictError" in caplog.text
    assert _pending(writer) == [1]
    with pytest.raises(SequenceConflictError):
        await writer.flush()
    assert _pending(writer) == []
    assert await writer.close() == 1
    assert await _stored(objects) == [0, 100]


async def test_a_cancelled_conditional_write_stays_conditional() -> None:
    """SM-10, SM-11: A conditional write that is cancelled on its way is in `pending` with its condition."""
    objects = LocalObjects(StreamObject)
    gate = GatedNamespace(objects)
    writer = await _manager(gate).create_writer("s", "a", "t")
    gate.shut(before=True)
    await _cancelled(writer.write(_chunk(1), expected_sequence=1))
    gate.open()
    assert _pending(writer) == [1]
    await _another_writer_stores(objects, 100)
    await writer.write(_chunk(2))
    with pytest.raises(SequenceConflictError):
        await writer.flush()
    assert _pending(writer) == [2]
    assert await writer.close() == 2
    assert await _stored(objects) == [100, 2]


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("expected_sequence", [None, 1])
async def test_a_write_cancelled_on_its_way_is_pending(before: bool, expected_sequence: int | None) -> None:
    """SM-10: It may have been sent, so `pending` has it until the next call settles it once."""
    objects = LocalObjects(StreamObject)
    gate = GatedNamespace(objects)
    writer = await _manager(gate, buffer_size=1).create_writer("s", "a", "t")
    gate.shut(before=before)
    await _cancelled(writer.write(_chunk(1), expected_sequence=expected_sequence))
    gate.open()
    assert _pending(writer) == [1]
    assert await writer.close() == 1
    assert await _stored(objects) == [1]


@pytest.mark.parametrize("expected_sequence", [None, 3])
async def test_a_write_cancelled_before_it_left_has_not_taken_its_chunk(expected_sequence: int | None) -> None:
    """SM-10: a write cancelled while it waits for an earlier flush may be repeated without doubling."""
    objects = LocalObjects(StreamObject)
    gate = GatedNamespace(objects)
    writer = await _manager(gate, buffer_size=2).create_writer("s", "a", "t")
    await writer.write(_chunk(1))
    gate.shut(before=True)
    flush = asyncio.ensure_future(writer.flush())
    await _settle()
    await writer.write(_chunk(2))
    await _cancelled(writer.write(_chunk(3), expected_sequence=expected_sequence))
    gate.open()
    await flush
    assert 3 not in _pending(writer)
    await writer.write(_chunk(3), expected_sequence=expected_sequence)
    assert await writer.close() == 3
    assert await _stored(objects) == [1, 2, 3]


async def test_a_flush_sends_nothing_that_was_taken_after_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    """SM-10: A flush does not store a write that is cancelled just when the flush ends."""
    objects = LocalObjects(StreamObject)
    gate = GatedNamespace(objects)
    writer = await _manager(gate, buffer_size=2).create_writer("s", "a", "t")
    await writer.write(_chunk(1))
    gate.shut(before=True)
    first = asyncio.ensure_future(writer.flush())
    await _settle()
    await writer.write(_chunk(2))
    second = asyncio.ensure_future(writer.flush())
    write = asyncio.ensure_future(writer.write(_chunk(3)))
    await _settle()
    stored = WriterBuffer.stored

    def stored_then_cancel(buffer: WriterBuffer, batch: Batch) -> None:
        stored(buffer, batch)
        if len(buffer) < 2:
            # Runs after the writer's lock has been handed on, and before the write that gets it.
            asyncio.get_running_loop().call_soon(write.cancel)

    monkeypatch.setattr(WriterBuffer, "stored", stored_then_cancel)
    gate.open()
    await asyncio.gather(first, second, write, return_exceptions=True)
    assert write.cancelled()
    assert _pending(writer) == []
    assert await writer.close() == 2
    assert await _stored(objects) == [1, 2]


async def test_a_failing_wait_until_fails_no_write(caplog: pytest.LogCaptureFixture) -> None:
    """SM-6, SM-10: It is logged once. The chunk is taken, and stored as without `wait_until`."""
    objects = LocalObjects(StreamObject)

    def wait_until(work: Awaitable[None]) -> None:
        raise RuntimeError("the request is over")

    writer = await _manager(objects, wait_until=wait_until).create_writer("s", "a", "t")
    await writer.write(_chunk(1))
    await writer.write(_chunk(2))
    assert [record.message for record in caplog.records] == ["wait_until failed; no more timers for stream 's'"]
    assert _pending(writer) == [1, 2]
    assert await writer.close() == 2
    assert await _stored(objects) == [1, 2]


async def test_a_chunk_of_exactly_the_top_limit_is_stored() -> None:
    """SM-5: The object can store every chunk that `write` accepts, also among others in one flush."""
    objects = LocalObjects(StreamObject)
    writer = await _manager(objects, max_chunk_bytes=blocks.MAX_CHUNK_BYTES).create_writer("s", "a", "t")
    stamped = {**_chunk(2), "agentId": "a", "agentType": "t", "timestamp": 1, "text": ""}
    await writer.write(_chunk(1))
    await writer.write(stamped)
    stamped["text"] = "x" * (blocks.MAX_CHUNK_BYTES - len(encode_json(stamped, name="chunk")))
    await writer.write(stamped)
    with pytest.raises(StreamChunkTooLargeError):
        await writer.write({**stamped, "text": stamped["text"] + "x"})
    assert await writer.close() == 3
    assert await _stored(objects) == [1, 2, 2]


async def test_a_chunk_too_large_for_the_object_leaves_the_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    """SM-5: An object with a lower limit refuses the flush. The chunks beside the large one stay and are stored."""
    monkeypatch.setattr(blocks, "MAX_BLOCK_BYTES", 100)
    monkeypatch.setattr(blocks, "MAX_CHUNK_BYTES", 200)
    objects = LocalObjects(StreamObject)
    writer = await _manager(objects).create_writer("s", "a", "t")
    await writer.write(_chunk(1))
    await writer.write({**_chunk(2), "text": "x" * 300})
    await writer.write(_chunk(3))
    with pytest.raises(StreamChunkTooLargeError) as caught:
        await writer.flush()
    assert caught.value.limit_bytes == 200
    assert _pending(writer) == [1, 3]
    assert await writer.close() == 2
    assert await _stored(objects) == [1, 3]


async def test_an_object_that_fails_within_is_a_stream_error_of_unknown_outcome(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """SM-30: An error of other code comes as `StreamError` with `outcome_unknown`, and the chunks stay."""
    objects = LocalObjects(StreamObject)
    writer = await _manager(objects).create_writer("s", "a", "t")
    await writer.write(_chunk(1))

    def broken(*_arguments: object, **_options: object) -> None:
        raise OSError("disk")

    with monkeypatch.context() as patch:
        patch.setattr(StreamLog, "append", broken)
        with pytest.raises(StreamError, match="under id") as caught:
            await writer.flush()
    assert caught.value.outcome_unknown
    assert "disk" in caplog.text
    assert _pending(writer) == [1]
    assert await writer.close() == 1


class ChancyNamespace:
    """Objects whose calls are lost by chance, on their way or on the way back."""

    def __init__(self, objects: LocalObjects, chance: random.Random) -> None:
        self._objects = objects
        self._chance = chance
        self.is_chancy = True

    async def call(self, name: str, request: str) -> str:
        dice = self._chance.random() if self.is_chancy else 1.0
        if dice < 0.3:
            raise ObjectCallError("Network connection lost.")
        reply = await self._objects.call(name, request)
        if dice < 0.6:
            raise ObjectCallError("Network connection lost.")
        return reply


@pytest.mark.parametrize("seed", range(length(25, 1_000)))
async def test_every_chunk_is_stored_once_or_was_not_taken(seed: int) -> None:
    """SM-8, SM-9, SM-10: Under lost calls, restarts and cancellations, exactly the taken and the pending chunks may be stored."""
    chance = random.Random(seed)
    objects = LocalObjects(StreamObject)
    namespace = ChancyNamespace(objects, chance)
    await _manager(objects).create_writer("s", "other", "t")
    writer = await _opened(_manager(namespace, buffer_size=chance.choice([1, 2, 5])))
    taken: set[int] = set()

    async def hurried(call: Awaitable[object]) -> bool:
        """Return whether the call returned before its caller gave up."""
        task = asyncio.ensure_future(call)
        for _ in range(chance.randrange(15)):
            await asyncio.sleep(0)
        if chance.random() < 0.3:
            task.cancel()
        await asyncio.wait({task})
        return not task.cancelled() and task.exception() is None

    async def write(number: int) -> None:
        if await hurried(writer.write(_chunk(number))) or number in _pending(writer):
            taken.add(number)

    for step in range(12):
        if chance.random() < 0.2:
            objects.restart()
        await asyncio.gather(*(write(step * 10 + n) for n in range(chance.randrange(4))), hurried(writer.flush()))
    namespace.is_chancy = False
    await writer.close()
    stored = await _stored(objects)
    assert len(stored) == len(set(stored))
    assert set(stored) == taken


async def _opened(manager: DurableObjectStreamManager) -> DurableObjectStreamWriter:
    while True:
        try:
            return await manager.create_writer("s", "a", "t")
        except StreamConnectionError:
            continue
