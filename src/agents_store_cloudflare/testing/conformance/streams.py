"""The conformance tests of a `StreamManager` over Durable Objects. Subclass `StreamConformance`, and give it a `stream_namespace`.

Each test names the clauses of docs/guarantees.md that it proves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from agents_store_cloudflare.contract.errors import (
    InvalidArgumentError,
    SequenceConflictError,
    StaleFencingTokenError,
    StreamChunkTooLargeError,
    StreamClosedError,
    StreamConnectionError,
    StreamError,
    StreamFailedError,
    StreamNotFoundError,
)
from agents_store_cloudflare.contract.streams.records import BufferOverflowEvent
from agents_store_cloudflare.objects import ObjectNamespace
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.streams.options import StreamOptions
from agents_store_cloudflare.streams.reader import DurableObjectStreamReader
from agents_store_cloudflare.testing.conformance.stream_fixtures import StreamFixtures, Time, while_time_passes
from agents_store_cloudflare.testing.faults import FaultyNamespace, Moment

__all__ = ["StreamConformance"]

NASTY_CHUNK: dict[str, Any] = {
    "type": "",
    "z": 1,
    "a": [1.0, -0.0, 1e308, 2**53 + 1, -(10**30), True, None],
    "": {"": None},
    "text": "a\x00b\r\n\u2028 🎉 ё 漢字 ''; DROP TABLE blocks; --",
    "agentType": None,
    "deep": [[[[{"x": []}]]]],
}


def _text(number: int) -> dict[str, Any]:
    return {"type": "text", "n": number}


def _times(count: int, moment: Moment) -> list[Moment]:
    return [moment] * count


def _numbers(chunks: list[Any]) -> list[int]:
    return [chunk["n"] for chunk in chunks]


async def _read_all(reader: DurableObjectStreamReader) -> list[Any]:
    return [chunk async for chunk in reader]


async def _stored(manager: DurableObjectStreamManager, stream_id: str) -> list[int]:
    """Return the stored chunks of the stream, whether it has ended or not."""
    info = await manager.get_info(stream_id)
    assert info is not None
    async with manager.create_reader(stream_id) as reader:
        return _numbers([await anext(reader) for _ in range(info.last_sequence)])


class StreamConformance(StreamFixtures):
    """The contract of `StreamManager`, clause by clause."""

    async def test_chunks_are_numbered_from_one_in_order(
        self, stream_manager: DurableObjectStreamManager, unique: str
    ) -> None:
        """SM-1, SM-12: Chunks come back in the order of their writes, numbered 1, 2, 3. `flush` returns the last number."""
        writer = await stream_manager.create_writer(unique, "agent", "researcher")
        assert await writer.flush() == 0
        for number in range(1, 8):
            await writer.write(_text(number))
        assert await writer.flush() == 7
        await writer.write(_text(8))
        assert await writer.close() == 8
        await stream_manager.end_stream(unique)
        async with stream_manager.create_reader(unique) as reader:
            seen = [(chunk["n"], reader.sequence) async for chunk in reader]
        assert seen == [(number, number) for number in range(1, 9)]
        assert reader.status == "ended"

    async def test_user_json_comes_back_exactly(self, stream_manager: DurableObjectStreamManager, unique: str) -> None:
        """SM-2, SM-3: Digits, floats, NUL, emoji, the order of keys and own keys come back. Missing keys are added."""
        async with stream_manager.create_writer(unique, "agent-1", "researcher") as writer:
            await writer.write(NASTY_CHUNK)
            await writer.write(_text(1))
        await stream_manager.end_stream(unique, NASTY_CHUNK)
        async with stream_manager.create_reader(unique) as reader:
            nasty, plain = await _read_all(reader)
        assert list(nasty) == [*NASTY_CHUNK, "agentId", "timestamp"]
        assert repr({key: nasty[key] for key in NASTY_CHUNK}) == repr(NASTY_CHUNK)
        assert (plain["agentId"], plain["agentType"]) == ("agent-1", "researcher")
        assert isinstance(plain["timestamp"], int)
        info = await stream_manager.get_info(unique)
        assert info is not None
        assert repr(info.output) == repr(NASTY_CHUNK)

    async def test_bad_chunks_are_refused_before_anything_is_sent(
        self, stream_manager: DurableObjectStreamManager, unique: str
    ) -> None:
        """SM-4: A value that is no chunk is refused by name, and takes no sequence."""
        writer = await stream_manager.create_writer(unique, "agent", "researcher")
        not_chunks: list[Any] = [[], "text", None, {"type": 1}, {"type": "x", "y": (1,)}, {"type": "x", 1: 2}]
        for chunk in not_chunks:
            with pytest.raises(TypeError, match="chunk"):
                await writer.write(chunk)
        without: list[dict[str, Any]] = [{}, {"n": 1}, {"type": "x", "y": float("nan")}, {"type": "\ud800"}]
        for chunk in without:
            with pytest.raises(InvalidArgumentError, match="chunk"):
                await writer.write(chunk)
        with pytest.raises(InvalidArgumentError, match="expected_sequence"):
            await writer.write(_text(1), expected_sequence=0)
        assert writer.pending == []
        assert await writer.close() == 0

    async def test_a_chunk_over_the_limit_is_refused(
        self, stream_namespace: ObjectNamespace, stream_options: StreamOptions, unique: str
    ) -> None:
        """SM-5: A chunk over the limit raises an error with both sizes and takes no sequence. A chunk at the limit is stored."""
        options = replace(stream_options, max_chunk_bytes=300)
        manager = DurableObjectStreamManager(stream_namespace, options=options)
        async with manager.create_writer(unique, "agent", "researcher") as writer:
            with pytest.raises(StreamChunkTooLargeError) as caught:
                await writer.write({"type": "text", "text": "é" * 150})
            assert caught.value.limit_bytes == 300
            assert caught.value.size_bytes > 300
            await writer.write(_text(1))
        assert await _stored(manager, unique) == [1]

    async def test_large_flushes_are_split_and_read_back(
        self, stream_manager: DurableObjectStreamManager, unique: str
    ) -> None:
        """SM-1, SM-5: Chunks of up to 1 MB, more than a block, a page or a call holds, come back in order."""
        sizes = [900_000, 10, 300_000, 300_000, 10, 950_000, 950_000, 950_000, 950_000, 950_000]
        async with stream_manager.create_writer(unique, "agent", "researcher") as writer:
            for number, size in enumerate(sizes):
                await writer.write({"type": "text", "n": number, "text": "é" * (size // 2)})
        await stream_manager.end_stream(unique)
        async with stream_manager.create_reader(unique) as reader:
            chunks = await _read_all(reader)
        assert _numbers(chunks) == list(range(len(sizes)))
        assert [len(chunk["text"]) for chunk in chunks] == [size // 2 for size in sizes]

    async def test_a_full_buffer_is_stored(
        self, stream_namespace: ObjectNamespace, stream_options: StreamOptions, unique: str
    ) -> None:
        """SM-6: The write that fills the buffer stores it. Before that nothing is stored."""
        options = replace(stream_options, buffer_size=3, flush_interval=60)
        manager = DurableObjectStreamManager(stream_namespace, options=options)
        writer = await manager.create_writer(unique, "agent", "researcher")
        await writer.write(_text(1))
        await writer.write(_text(2))
        assert await _stored(manager, unique) == []
        assert _numbers(list(writer.pending)) == [1, 2]
        await writer.write(_text(3))
        assert writer.pending == []
        assert await _stored(manager, unique) == [1, 2, 3]

    async def test_the_next_write_stores_what_has_waited(
        self, stream_manager: DurableObjectStreamManager, clock: Time, unique: str
    ) -> None:
        """SM-6: When the flush interval has passed, the next write stores the waiting chunks and itself."""
        writer = await stream_manager.create_writer(unique, "agent", "researcher")
        await writer.write(_text(1))
        await clock.advance(0.15)
        assert await _stored(stream_manager, unique) == []
        await writer.write(_text(2))
        assert await _stored(stream_manager, unique) == [1, 2]

    async def test_a_timer_stores_what_has_waited(
        self, stream_namespace: ObjectNamespace, stream_options: StreamOptions, clock: Time, unique: str
    ) -> None:
        """SM-6: With `wait_until` a timer stores the chunks after the flush interval, without another write."""
        kept: list[Awaitable[None]] = []
        options = replace(stream_options, wait_until=kept.append)
        manager = DurableObjectStreamManager(stream_namespace, options=options)
        writer = await manager.create_writer(unique, "agent", "researcher")
        await writer.write(_text(1))
        await writer.write(_text(2))
        await clock.advance(0.2)
        await asyncio.gather(*kept)
        assert len(kept) == 1
        assert writer.pending == []
        assert await _stored(manager, unique) == [1, 2]
        await writer.write(_text(3))
        await writer.close()
        await asyncio.gather(*kept)
        assert await _stored(manager, unique) == [1, 2, 3]

    async def test_ending_stores_what_the_managers_writers_have(
        self, stream_manager: DurableObjectStreamManager, unique: str
    ) -> None:
        """SM-6: End and fail first store the chunks of this manager's writers of the stream."""
        for stream_id in (f"{unique}-end", f"{unique}-fail"):
            writer = await stream_manager.create_writer(stream_id, "agent", "researcher")
            await writer.write(_text(1))
        await stream_manager.end_stream(f"{unique}-end")
        await stream_manager.fail_stream(f"{unique}-fail", "no more")
        assert await _stored(stream_manager, f"{unique}-end") == [1]
        assert await _stored(stream_manager, f"{unique}-fail") == [1]

    async def test_writers_share_a_stream(self, stream_manager: DurableObjectStreamManager, unique: str) -> None:
        """SM-7: Each writer's chunks keep their order between other writers' chunks, and the numbers have no gaps."""

        async def write(writer_number: int) -> None:
            async with stream_manager.create_writer(unique, f"agent-{writer_number}", "researcher") as writer:
                for number in range(20):
                    await writer.write(_text(number))
                    if number % (3 + writer_number) == 0:
                        await writer.flush()

        await asyncio.gather(*(write(number) for number in range(3)))
        await stream_manager.end_stream(unique)
        async with stream_manager.create_reader(unique) as reader:
            chunks = await _read_all(reader)
        assert len(chunks) == reader.sequence == 60
        for number in range(3):
            own = [chunk for chunk in chunks if chunk["agentId"] == f"agent-{number}"]
            assert _numbers(own) == list(range(20))
        info = await stream_manager.get_info(unique)
        assert info is not None
        assert info.writers == 3

    async def test_concurrent_writes_of_one_writer_keep_their_order(
        self, stream_namespace: ObjectNamespace, stream_options: StreamOptions, unique: str
    ) -> None:
        """SM-8: Writes from many tasks are stored once each, in the order of the calls."""
        options = replace(stream_options, buffer_size=4)
        manager = DurableObjectStreamManager(stream_namespace, options=options)
        async with manager.create_writer(unique, "agent", "researcher") as writer:
            await asyncio.gather(*(writer.write(_text(number)) for number in range(50)), writer.flush())
        assert await _stored(manager, unique) == list(range(50))

    @pytest.mark.parametrize("moment", ["before", "after"])
    async def test_a_failed_call_is_repeated_and_stores_once(
        self, stream_namespace: ObjectNamespace, stream_options: StreamOptions, clock: Time, unique: str, moment: Moment
    ) -> None:
        """SM-9: A call whose request or reply is lost takes effect exactly once."""
        faulty = FaultyNamespace(stream_namespace)
        manager = DurableObjectStreamManager(faulty, options=stream_options)
        faulty.fail(moment)
        writer = await while_time_passes(clock, _awaited(manager.create_writer(unique, "agent", "researcher")))
        for number in range(3):
            await writer.write(_text(number))
            faulty.fail(moment, moment)
            assert await while_time_passes(clock, writer.flush()) == number + 1
        await writer.write(_text(3), expected_sequence=4)
        faulty.fail(moment)
        await while_time_passes(clock, manager.end_stream(unique, "done"))
        faulty.fail(moment)
        reader = await while_time_passes(clock, _awaited(manager.create_reader(unique)))
        assert _numbers(await _read_all(reader)) == [0, 1, 2, 3]

    @pytest.mark.parametrize("moment", ["before", "after"])
    async def test_what_could_not_be_stored_stays_pending(
        self, stream_namespace: ObjectNamespace, stream_options: StreamOptions, clock: Time, unique: str, moment: Moment
    ) -> None:
        """SM-9, SM-10: When no reply comes for long, the chunks are in `pending`, in order. Later each is stored once."""
        faulty = FaultyNamespace(stream_namespace)
        manager = DurableObjectStreamManager(faulty, options=stream_options)
        writer = await manager.create_writer(unique, "agent", "researcher")
        await writer.write(_text(1))
        await writer.write(_text(2))
        faulty.fail(*_times(4, moment))
        with pytest.raises(StreamConnectionError) as caught:
            await while_time_passes(clock, writer.flush())
        assert caught.value.outcome_unknown
        assert _numbers(list(writer.pending)) == [1, 2]
        await writer.write(_text(3))
        assert await writer.close() == 3
        assert writer.pending == []
        assert await _stored(manager, unique) == [1, 2, 3]

    async def test_a_write_that_raises_has_not_taken_its_chunk(
        self, stream_namespace: ObjectNamespace, stream_options: StreamOptions, clock: Time, unique: str
    ) -> None:
        """SM-10: The failure of an earlier write is raised by the next write, which can be repeated without a double chunk."""
        faulty = FaultyNamespace(stream_namespace)
        options = replace(stream_options, buffer_size=2, flush_interval=60)
        manager = DurableObjectStreamManager(faulty, options=options)
        writer = await manager.create_writer(unique, "agent", "researcher")
        await writer.write(_text(1))
        faulty.fail(*_times(8, "after"))
        await while_time_passes(clock, writer.write(_text(2)))
        with pytest.raises(StreamConnectionError):
            await while_time_passes(clock, writer.write(_text(3)))
        assert _numbers(list(writer.pending)) == [1, 2]
        await writer.write(_text(3))
        await writer.close()
        assert await _stored(manager, unique) == [1, 2, 3]

    async def test_expected_sequence(self, stream_manager: DurableObjectStreamManager, unique: str) -> None:
        """SM-11: A write with `expected_sequence` stores the waiting chunks and its own at once, or raises."""
        writer = await stream_manager.create_writer(unique, "agent", "researcher")
        await writer.write(_text(1))
        await writer.write(_text(2), expected_sequence=2)
        assert await _stored(stream_manager, unique) == [1, 2]
        await writer.write(_text(3))
        with pytest.raises(SequenceConflictError) as caught:
            await writer.write(_text(99), expected_sequence=3)
        assert (caught.value.expected, caught.value.actual) == (3, 4)
        assert writer.pending == []
        await writer.write(_text(4), expected_sequence=4)
        await writer.write(_text(5))
        await writer.close()
        assert await _stored(stream_manager, unique) == [1, 2, 3, 4, 5]

    async def test_only_one_of_two_racing_writers_gets_a_sequence(
        self, stream_manager: DurableObjectStreamManager, unique: str
    ) -> None:
        """SM-11: Of several writers that expect the same sequence, one is stored and the others are refused."""
        writers = [await stream_manager.create_writer(unique, f"a{n}", "researcher") for n in range(5)]
        results = await asyncio.gather(
            *(writer.write(_text(n), expected_sequence=1) for n, writer in enumerate(writers)), return_exceptions=True
        )
        assert sorted(type(result).__name__ for result in results) == ["NoneType"] + ["SequenceConflictError"] * 4
        assert len(await _stored(stream_manager, unique)) == 1

    async def test_a_writer_whose_lock_was_taken_over_is_refused(
        self,
        stream_manager: DurableObjectStreamManager,
        stream_namespace: ObjectNamespace,
        stream_options: StreamOptions,
        unique: str,
    ) -> None:
        """SM-13: The stream keeps the highest fencing token. Writers, ends and fails with a lower one are refused."""
        old = await stream_manager.create_writer(unique, "old", "researcher", fencing_token=5)
        await old.write(_text(1))
        await old.flush()
        await old.write(_text(2))
        new = await stream_manager.create_writer(unique, "new", "researcher", fencing_token=6)
        with pytest.raises(StaleFencingTokenError) as caught:
            await old.flush()
        assert (caught.value.expected, caught.value.actual) == (6, 5)
        assert _numbers(list(old.pending)) == [2]
        with pytest.raises(StaleFencingTokenError):
            await stream_manager.create_writer(unique, "late", "researcher", fencing_token=5)
        other = DurableObjectStreamManager(stream_namespace, options=stream_options)
        with pytest.raises(StaleFencingTokenError):
            await other.end_stream(unique, fencing_token=5)
        with pytest.raises(StaleFencingTokenError):
            await other.fail_stream(unique, "late", fencing_token=5)
        await new.write(_text(3))
        await new.close()
        await other.end_stream(unique, fencing_token=7)
        assert await _stored(other, unique) == [1, 3]
        for token in (0, 2**53, -1):
            with pytest.raises(InvalidArgumentError, match="fencing_token"):
                await stream_manager.create_writer(unique, "a", "b", fencing_token=token)

    async def test_a_reader_gets_stored_chunks_then_live_ones(
        self, stream_manager: DurableObjectStreamManager, unique: str
    ) -> None:
        """SM-12: A waiting reader gets each new chunk, and the end. Several readers each get all chunks."""
        writer = await stream_manager.create_writer(unique, "agent", "researcher")
        await writer.write(_text(1))
        await writer.flush()
        readers = [await stream_manager.create_reader(unique) for _ in range(3)]
        for reader in readers:
            assert (await anext(reader))["n"] == 1
        rests = [asyncio.ensure_future(_read_all(reader)) for reader in readers]
        for number in (2, 3):
            await asyncio.sleep(0)
            await writer.write(_text(number))
            await writer.flush()
        await stream_manager.end_stream(unique)
        for rest in rests:
            assert _numbers(await rest) == [2, 3]
        assert [reader.sequence for reader in readers] == [3, 3, 3]

    async def test_a_failed_stream_gives_everything_then_raises(
        self, stream_manager: DurableObjectStreamManager, unique: str
    ) -> None:
        """SM-14: A reader of a failed stream gets every chunk, then `StreamFailedError` with the text, each time."""
        async with stream_manager.create_writer(unique, "agent", "researcher") as writer:
            await writer.write(_text(1))
        reader = await stream_manager.create_reader(unique)
        assert (await anext(reader))["n"] == 1
        waiting = asyncio.ensure_future(_next(reader))
        await asyncio.sleep(0)
        await stream_manager.fail_stream(unique, "model \x00 gone 🎉")
        with pytest.raises(StreamFailedError) as caught:
            await waiting
        assert caught.value.error == "model \x00 gone 🎉"
        with pytest.raises(StreamFailedError):
            await anext(reader)
        assert reader.status == "failed"

    async def test_a_reader_resumes_after_a_position(
        self, stream_manager: DurableObjectStreamManager, unique: str
    ) -> None:
        """SM-15: A reader begins after `from_sequence`. From the last sequence it waits, and a higher one raises."""
        async with stream_manager.create_writer(unique, "agent", "researcher") as writer:
            for number in range(1, 11):
                await writer.write(_text(number))
                if number in (4, 5):
                    await writer.flush()
        with pytest.raises(SequenceConflictError) as caught:
            await stream_manager.create_resumable_reader(unique, 11)
        assert (caught.value.expected, caught.value.actual) == (11, 10)
        at_the_end = await stream_manager.create_resumable_reader(unique, from_sequence=10)
        assert at_the_end.sequence == 10
        await stream_manager.end_stream(unique)
        assert await _read_all(at_the_end) == []
        for position in range(11):
            async with stream_manager.create_resumable_reader(unique, position) as reader:
                assert _numbers(await _read_all(reader)) == list(range(position + 1, 11))

    async def test_a_reader_goes_on_after_a_lost_connection(
        self, stream_namespace: ObjectNamespace, stream_options: StreamOptions, clock: Time, unique: str
    ) -> None:
        """SM-16: A reader with failing calls goes on at its position. No chunk comes twice and none is missing."""
        faulty = FaultyNamespace(stream_namespace)
        manager = DurableObjectStreamManager(faulty, options=stream_options)
        writer = await manager.create_writer(unique, "agent", "researcher")
        await writer.write(_text(1))
        await writer.flush()
        reader = await manager.create_reader(unique)
        assert (await anext(reader))["n"] == 1
        await writer.write(_text(2))
        await manager.end_stream(unique)
        faulty.fail("before", "after", "before")
        assert _numbers(await while_time_passes(clock, _read_all(reader))) == [2]

    async def test_closing_a_reader_stops_it(self, stream_manager: DurableObjectStreamManager, unique: str) -> None:
        """SM-12: `close` ends the iteration, also an iteration that waits."""
        async with stream_manager.create_writer(unique, "agent", "researcher") as writer:
            await writer.write(_text(1))
        reader = await stream_manager.create_reader(unique)
        rest = asyncio.ensure_future(_read_all(reader))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await reader.close()
        await reader.close()
        assert _numbers(await rest) in ([], [1])

    async def test_unknown_streams(self, stream_manager: DurableObjectStreamManager, unique: str) -> None:
        """SM-17: An unknown stream has no info, no readers and no end. To ask for it does not create it."""
        for _ in range(2):
            assert await stream_manager.get_info(unique) is None
            with pytest.raises(StreamNotFoundError):
                await stream_manager.create_reader(unique)
            with pytest.raises(StreamNotFoundError):
                await stream_manager.create_resumable_reader(unique, 3)
            with pytest.raises(StreamNotFoundError):
                await stream_manager.end_stream(unique)
            with pytest.raises(StreamNotFoundError):
                await stream_manager.fail_stream(unique, "no")

    async def test_a_reader_may_wait_for_the_stream(
        self, stream_manager: DurableObjectStreamManager, clock: Time, unique: str
    ) -> None:
        """SM-17: With `wait` a reader waits until the stream is created, and no longer than that time."""
        with pytest.raises(StreamNotFoundError):
            await while_time_passes(clock, _awaited(stream_manager.create_reader(unique, wait=0.1)))
        opening = asyncio.ensure_future(_awaited(stream_manager.create_reader(unique, wait=60)))
        await clock.advance(0.05)
        async with stream_manager.create_writer(unique, "agent", "researcher") as writer:
            await writer.write(_text(1))
        await stream_manager.end_stream(unique)
        assert _numbers(await _read_all(await opening)) == [1]

    async def test_a_stream_has_one_outcome(self, stream_manager: DurableObjectStreamManager, unique: str) -> None:
        """SM-18: A second end with the same outcome changes nothing. Any other outcome raises an error with the first outcome."""
        await (await stream_manager.create_writer(unique, "agent", "researcher")).close()
        await stream_manager.end_stream(unique, {"a": 1, "b": [1.0]}, status="stopped")
        first = await stream_manager.get_info(unique)
        await stream_manager.end_stream(unique, {"b": [1.0], "a": 1}, status="stopped")
        others: list[Coroutine[Any, Any, None]] = [
            stream_manager.end_stream(unique, {"a": 1, "b": [1]}, status="stopped"),
            stream_manager.end_stream(unique, {"a": 1, "b": [1.0]}),
            stream_manager.fail_stream(unique, "no"),
        ]
        for other in others:
            with pytest.raises(StreamClosedError) as caught:
                await other
            assert (caught.value.status, caught.value.end_status) == ("ended", "stopped")
        assert await stream_manager.get_info(unique) == first

    async def test_a_failed_stream_stays_failed(self, stream_manager: DurableObjectStreamManager, unique: str) -> None:
        """SM-18: A second fail with the same text changes nothing. Another text or an end raises."""
        await (await stream_manager.create_writer(unique, "agent", "researcher")).close()
        await stream_manager.fail_stream(unique, "no")
        await stream_manager.fail_stream(unique, "no")
        for other in (stream_manager.fail_stream(unique, "other"), stream_manager.end_stream(unique)):
            with pytest.raises(StreamClosedError) as caught:
                await other
            assert caught.value.status == "failed"
        info = await stream_manager.get_info(unique)
        assert info is not None
        assert (info.status, info.error) == ("failed", "no")

    async def test_an_ended_stream_takes_no_chunks(
        self,
        stream_manager: DurableObjectStreamManager,
        stream_namespace: ObjectNamespace,
        stream_options: StreamOptions,
        unique: str,
    ) -> None:
        """SM-10, SM-19: An ended stream refuses chunks: of open writers at the flush, of new writers at the write."""
        old = await stream_manager.create_writer(unique, "agent", "researcher")
        other = DurableObjectStreamManager(stream_namespace, options=stream_options)
        await old.write(_text(1))
        await other.end_stream(unique)
        with pytest.raises(StreamClosedError) as caught:
            await old.flush()
        assert (caught.value.status, caught.value.end_status) == ("ended", "completed")
        assert _numbers(list(old.pending)) == [1]
        new = await other.create_writer(unique, "agent", "researcher")
        for _ in range(2):
            with pytest.raises(StreamClosedError):
                await new.write(_text(2))
        assert new.pending == []
        assert await _stored(other, unique) == []

    async def test_a_closed_writer_takes_no_chunks(
        self, stream_manager: DurableObjectStreamManager, unique: str
    ) -> None:
        """SM-19: A closed writer takes no more chunks, and the stream stays open. A second close does nothing."""
        async with stream_manager.create_writer(unique, "agent", "researcher") as writer:
            await writer.write(_text(1))
        assert await writer.close() == await writer.flush() == 1
        with pytest.raises(StreamError, match="closed"):
            await writer.write(_text(2))
        async with stream_manager.create_writer(unique, "agent", "researcher") as another:
            await another.write(_text(2))
        assert await _stored(stream_manager, unique) == [1, 2]

    async def test_info(self, stream_manager: DurableObjectStreamManager, unique: str) -> None:
        """SM-20: The info has the status, the outcome, the numbers and the times."""
        writer = await stream_manager.create_writer(unique, "agent", "researcher")
        info = await stream_manager.get_info(unique)
        assert info is not None
        assert (info.stream_id, info.status, info.end_status, info.output) == (unique, "active", None, None)
        assert (info.first_sequence, info.last_sequence, info.count, info.writers) == (1, 0, 0, 0)
        await writer.write(_text(1))
        await stream_manager.end_stream(unique, [1.0], status="done")
        ended = await stream_manager.get_info(unique)
        assert ended is not None
        assert (ended.status, ended.end_status, ended.output) == ("ended", "done", [1.0])
        assert (ended.first_sequence, ended.last_sequence, ended.count, ended.writers) == (1, 1, 1, 1)
        assert info.created_at == ended.created_at <= ended.updated_at
        assert ended.ended_at == ended.updated_at

    async def test_dropping_the_oldest_is_opt_in(
        self, stream_namespace: ObjectNamespace, stream_options: StreamOptions, clock: Time, unique: str
    ) -> None:
        """SM-21: With `overflow="drop_oldest"` a full buffer drops its oldest chunk and emits an event."""
        faulty = FaultyNamespace(stream_namespace)
        options = replace(stream_options, buffer_size=3, flush_interval=60, overflow="drop_oldest")
        manager = DurableObjectStreamManager(faulty, options=options)
        events: list[BufferOverflowEvent] = []
        unsubscribe = manager.on("buffer_overflow", events.append)
        writer = await manager.create_writer(unique, "agent", "researcher")
        faulty.fail(*_times(4, "before"))
        for number in range(1, 6):
            await while_time_passes(clock, writer.write(_text(number)))
        assert events == [BufferOverflowEvent(stream_id=unique, dropped_count=1, buffer_size=3)] * 2
        unsubscribe()
        await writer.write(_text(6))
        assert len(events) == 2
        assert _numbers(list(writer.pending)) == [4, 5, 6]
        await writer.close()
        assert await _stored(manager, unique) == [4, 5, 6]

    async def test_ids_and_arguments_are_checked(self, stream_manager: DurableObjectStreamManager, unique: str) -> None:
        """SM-22: Ids, positions, outcomes, events and options are checked before anything is sent."""
        for bad in ("", "__x", "a\nb", "x" * 513, "\ud800"):
            with pytest.raises(InvalidArgumentError, match="stream_id"):
                await stream_manager.get_info(bad)
            with pytest.raises(InvalidArgumentError, match="stream_id"):
                await stream_manager.create_writer(bad, "a", "b")
            with pytest.raises(InvalidArgumentError, match="agent_id"):
                await stream_manager.create_writer(unique, bad, "b")
        for position in (-1, 2**53):
            with pytest.raises(InvalidArgumentError, match="from_sequence"):
                await stream_manager.create_resumable_reader(unique, position)
        not_text: Any = ValueError("x")
        with pytest.raises(TypeError, match="error"):
            await stream_manager.fail_stream(unique, not_text)
        with pytest.raises(InvalidArgumentError, match="output"):
            await stream_manager.end_stream(unique, float("inf"))
        other_event: Any = "other"
        with pytest.raises(InvalidArgumentError, match="event"):
            stream_manager.on(other_event, print)
        not_callable: Any = 5
        with pytest.raises(TypeError, match="callback"):
            stream_manager.on("buffer_overflow", not_callable)
        for span in (-1, 86_401, 1e308, float("inf"), float("nan")):
            with pytest.raises(InvalidArgumentError, match="wait"):
                await stream_manager.create_reader(unique, wait=span)
        assert await stream_manager.get_info(unique) is None


async def _awaited(opening: Awaitable[Any]) -> Any:
    return await opening


async def _next(reader: DurableObjectStreamReader) -> Any:
    return await anext(reader)
