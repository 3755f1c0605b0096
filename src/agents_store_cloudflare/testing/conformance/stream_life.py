"""The conformance tests of a stream's life: pause, reset, deletion, truncation, retention, and the adaptive mode.

Subclass `StreamLifeConformance` and give it a `stream_namespace`. Each test names the clauses that it proves.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from agents_store_cloudflare.contract.errors import (
    InvalidArgumentError,
    SequenceConflictError,
    StaleFencingTokenError,
    StreamClosedError,
    StreamFailedError,
    StreamNotFoundError,
    StreamTruncatedError,
)
from agents_store_cloudflare.objects import ObjectNamespace
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.streams.options import StreamOptions
from agents_store_cloudflare.streams.reader import DurableObjectStreamReader
from agents_store_cloudflare.testing.conformance.stream_fixtures import StreamFixtures, Time, while_time_passes
from agents_store_cloudflare.testing.faults import FaultyNamespace, Moment

__all__ = ["StreamLifeConformance"]


def _text(number: int) -> dict[str, Any]:
    return {"type": "text", "n": number}


async def _write(manager: DurableObjectStreamManager, stream_id: str, *numbers: int) -> int:
    """Store chunks with a new writer. Return the last sequence."""
    writer = await manager.create_writer(stream_id, "agent", "researcher")
    for number in numbers:
        await writer.write(_text(number))
    return await writer.close()


async def _read(reader: DurableObjectStreamReader) -> list[tuple[int, Any]]:
    """Return the sequence and the number of each chunk that the reader yields."""
    return [(reader.sequence, chunk["n"]) async for chunk in reader]


async def _next(reader: DurableObjectStreamReader) -> int:
    chunk: Any = await anext(reader)
    return int(chunk["n"])


class StreamLifeConformance(StreamFixtures):
    """The contract of `StreamManager` on a stream's life, clause by clause."""

    async def test_a_paused_stream_takes_no_chunks(
        self, stream_manager: DurableObjectStreamManager, unique: str
    ) -> None:
        """SM-31: A paused stream refuses writes. Refused chunks are pending, and are stored after the stream was resumed."""
        writer = await stream_manager.create_writer(unique, "agent", "researcher")
        await writer.write(_text(1))
        await stream_manager.pause_stream(unique)
        await stream_manager.pause_stream(unique)
        info = await stream_manager.get_info(unique)
        assert info is not None
        assert (info.status, info.last_sequence, info.ended_at) == ("paused", 1, None)
        await writer.write(_text(2))
        with pytest.raises(StreamClosedError) as caught:
            await writer.flush()
        assert caught.value.status == "paused"
        assert len(writer.pending) == 1
        await stream_manager.resume_stream(unique)
        await stream_manager.resume_stream(unique)
        assert await writer.close() == 2
        await stream_manager.end_stream(unique)
        async with stream_manager.create_reader(unique) as reader:
            assert await _read(reader) == [(1, 1), (2, 2)]

    async def test_readers_stop_at_a_pause_and_go_on(
        self, stream_manager: DurableObjectStreamManager, unique: str
    ) -> None:
        """SM-31: A reader gets all chunks and stops with the status paused, also while it waits. A new iteration goes on."""
        await _write(stream_manager, unique, 1, 2)
        waiting = await stream_manager.create_resumable_reader(unique, 2)
        rest = asyncio.ensure_future(_read(waiting))
        await asyncio.sleep(0)
        await stream_manager.pause_stream(unique)
        assert await rest == []
        reader = await stream_manager.create_reader(unique)
        assert await _read(reader) == [(1, 1), (2, 2)]
        assert [waiting.status, reader.status] == ["paused", "paused"]
        assert await _read(reader) == []
        await stream_manager.resume_stream(unique)
        await _write(stream_manager, unique, 3)
        await stream_manager.end_stream(unique)
        assert await _read(reader) == [(3, 3)]
        assert reader.status == "ended"

    async def test_an_outcome_is_neither_paused_nor_resumed(
        self, stream_manager: DurableObjectStreamManager, unique: str
    ) -> None:
        """SM-18, SM-31: An ended stream cannot be paused or resumed. A paused stream can be ended or failed."""
        await _write(stream_manager, unique, 1)
        await stream_manager.pause_stream(unique)
        await stream_manager.fail_stream(unique, "no")
        for call in (stream_manager.pause_stream, stream_manager.resume_stream):
            with pytest.raises(StreamClosedError) as caught:
                await call(unique)
            assert caught.value.status == "failed"
        async with stream_manager.create_reader(unique) as reader:
            with pytest.raises(StreamFailedError):
                await _read(reader)

    async def test_a_reset_empties_and_numbers_go_on(
        self, stream_manager: DurableObjectStreamManager, unique: str
    ) -> None:
        """SM-1, SM-32: After a reset the stream is active and empty, whatever its outcome was, and its numbers go on."""
        await _write(stream_manager, unique, 1, 2, 3)
        await stream_manager.end_stream(unique, "done")
        await stream_manager.reset_stream(unique)
        info = await stream_manager.get_info(unique)
        assert info is not None
        assert (info.status, info.output, info.end_status, info.ended_at) == ("active", None, None, None)
        assert (info.first_sequence, info.last_sequence, info.count, info.writers) == (4, 3, 0, 0)
        assert await _write(stream_manager, unique, 4, 5) == 5
        await stream_manager.end_stream(unique)
        async with stream_manager.create_reader(unique) as reader:
            assert reader.sequence == 3
            assert await _read(reader) == [(4, 4), (5, 5)]
        async with stream_manager.create_resumable_reader(unique, 4) as resumed:
            assert await _read(resumed) == [(5, 5)]
        with pytest.raises(StreamTruncatedError) as caught:
            await stream_manager.create_resumable_reader(unique, 2)
        assert (caught.value.from_sequence, caught.value.first_sequence) == (2, 4)

    async def test_open_readers_are_told_of_a_reset(
        self, stream_manager: DurableObjectStreamManager, unique: str
    ) -> None:
        """SM-32: A waiting reader and a reader that is behind hear of a reset. The waiting reader can then go on."""
        await _write(stream_manager, unique, 1, 2, 3)
        live = await stream_manager.create_reader(unique)
        assert [await _next(live) for _ in range(3)] == [1, 2, 3]
        waiting = asyncio.ensure_future(_next(live))
        await asyncio.sleep(0)
        await stream_manager.reset_stream(unique)
        with pytest.raises(StreamTruncatedError) as caught:
            await waiting
        assert caught.value.first_sequence == 4
        await _write(stream_manager, unique, 4)
        assert await _next(live) == 4
        assert live.sequence == 4

    @pytest.mark.parametrize("moment", ["before", "after"])
    async def test_calls_of_life_that_are_lost_take_effect_once(
        self, stream_namespace: ObjectNamespace, stream_options: StreamOptions, clock: Time, unique: str, moment: Moment
    ) -> None:
        """SM-9, SM-32, SM-33: Pause, resume, reset, truncation and deletion take effect once, even if a reply is lost."""
        faulty = FaultyNamespace(stream_namespace)
        manager = DurableObjectStreamManager(faulty, options=stream_options)
        await _write(manager, unique, 1, 2)
        for call in (manager.pause_stream, manager.resume_stream, manager.reset_stream, manager.delete_stream):
            faulty.fail(moment)
            await while_time_passes(clock, call(unique))
        assert await manager.get_info(unique) is None
        assert await _write(manager, unique, 3, 4) == 4
        faulty.fail(moment)
        await while_time_passes(clock, manager.truncate_stream(unique, 4))
        info = await manager.get_info(unique)
        assert info is not None
        assert (info.first_sequence, info.last_sequence) == (4, 4)

    async def test_a_deleted_stream_is_unknown(self, stream_manager: DurableObjectStreamManager, unique: str) -> None:
        """SM-17, SM-33: The info of a deleted stream is None, and all other calls raise. Waiting readers hear of the deletion."""
        await _write(stream_manager, unique, 1)
        reader = await stream_manager.create_reader(unique)
        assert await _next(reader) == 1
        waiting = asyncio.ensure_future(_next(reader))
        await asyncio.sleep(0)
        writer = await stream_manager.create_writer(unique, "agent", "researcher")
        await stream_manager.delete_stream(unique)
        with pytest.raises(StreamNotFoundError):
            await waiting
        assert await stream_manager.get_info(unique) is None
        with pytest.raises(StreamNotFoundError):
            await stream_manager.create_reader(unique)
        for call in (
            stream_manager.end_stream,
            stream_manager.pause_stream,
            stream_manager.resume_stream,
            stream_manager.reset_stream,
            stream_manager.delete_stream,
        ):
            with pytest.raises(StreamNotFoundError):
                await call(unique)
        with pytest.raises(StreamNotFoundError):
            await stream_manager.truncate_stream(unique, 1)
        await writer.write(_text(2))
        with pytest.raises(StreamNotFoundError):
            await writer.flush()

    async def test_numbers_and_fence_outlive_a_deletion(
        self, stream_manager: DurableObjectStreamManager, unique: str
    ) -> None:
        """SM-1, SM-13, SM-33: When a deleted stream is created again, its numbers go on, and stale tokens stay refused."""
        async with stream_manager.create_writer(unique, "agent", "researcher", fencing_token=7) as writer:
            await writer.write(_text(1))
            await writer.write(_text(2))
        with pytest.raises(StaleFencingTokenError):
            await stream_manager.delete_stream(unique, fencing_token=6)
        await stream_manager.delete_stream(unique, fencing_token=7)
        with pytest.raises(StaleFencingTokenError):
            await stream_manager.create_writer(unique, "agent", "researcher", fencing_token=6)
        assert await stream_manager.get_info(unique) is None
        assert await _write(stream_manager, unique, 3) == 3
        info = await stream_manager.get_info(unique)
        assert info is not None
        assert (info.first_sequence, info.last_sequence, info.count) == (3, 3, 1)
        with pytest.raises(StreamTruncatedError):
            await stream_manager.create_resumable_reader(unique, 1)
        with pytest.raises(SequenceConflictError):
            await stream_manager.create_resumable_reader(unique, 4)

    async def test_stale_tokens_change_no_life(self, stream_manager: DurableObjectStreamManager, unique: str) -> None:
        """SM-13: Pause, resume, reset, truncation and deletion with a stale token are refused and change nothing."""
        await (await stream_manager.create_writer(unique, "agent", "researcher", fencing_token=5)).close()
        await _write(stream_manager, unique, 1)
        before = await stream_manager.get_info(unique)
        for call in (stream_manager.pause_stream, stream_manager.reset_stream, stream_manager.delete_stream):
            with pytest.raises(StaleFencingTokenError) as caught:
                await call(unique, fencing_token=4)
            assert (caught.value.expected, caught.value.actual) == (5, 4)
        with pytest.raises(StaleFencingTokenError):
            await stream_manager.truncate_stream(unique, 2, fencing_token=4)
        assert await stream_manager.get_info(unique) == before

    async def test_readers_below_the_floor(self, stream_manager: DurableObjectStreamManager, unique: str) -> None:
        """SM-34: A reader before the floor gets `StreamTruncatedError` with the floor. Without a position it begins at the oldest chunk."""
        await _write(stream_manager, unique, *range(1, 11))
        behind = await stream_manager.create_resumable_reader(unique, 2)
        await stream_manager.truncate_stream(unique, 6)
        await stream_manager.truncate_stream(unique, 3)
        info = await stream_manager.get_info(unique)
        assert info is not None
        assert (info.first_sequence, info.last_sequence, info.count) == (6, 10, 5)
        for position in (0, 4):
            with pytest.raises(StreamTruncatedError) as caught:
                await stream_manager.create_resumable_reader(unique, position)
            assert caught.value.first_sequence == 6
        await stream_manager.end_stream(unique)
        for reader in (
            await stream_manager.create_reader(unique),
            await stream_manager.create_resumable_reader(unique, 5),
        ):
            assert await _read(reader) == [(number, number) for number in range(6, 11)]
        assert (await _read(behind))[0] == (3, 3)  # its page was fetched before
        await stream_manager.truncate_stream(unique, 99)
        async with stream_manager.create_reader(unique) as reader:
            assert await _read(reader) == []
        info = await stream_manager.get_info(unique)
        assert info is not None
        assert (info.first_sequence, info.last_sequence, info.count) == (11, 10, 0)
        with pytest.raises(InvalidArgumentError, match="first_sequence"):
            await stream_manager.truncate_stream(unique, 0)

    async def test_a_stream_may_keep_its_newest_chunks_only(
        self, stream_namespace: ObjectNamespace, stream_options: StreamOptions, unique: str
    ) -> None:
        """SM-34: With `keep_chunks` at least this number of chunks is kept, and at most a quarter more."""
        manager = DurableObjectStreamManager(stream_namespace, options=replace(stream_options, keep_chunks=20))
        for number in range(100):
            await _write(manager, unique, number)
            info = await manager.get_info(unique)
            assert info is not None
            assert min(20, number + 1) <= info.count <= 25
        await manager.end_stream(unique)
        async with manager.create_reader(unique) as reader:
            numbers = [number for _, number in await _read(reader)]
        assert numbers == list(range(100 - len(numbers), 100))

    async def test_a_stream_is_gone_some_time_after_its_end(
        self, stream_namespace: ObjectNamespace, stream_options: StreamOptions, clock: Time, unique: str
    ) -> None:
        """SM-35: An ended or failed stream is deleted after `keep_after_end`. An open stream is not."""
        options = replace(stream_options, keep_after_end=3)
        manager = DurableObjectStreamManager(stream_namespace, options=options)
        names = [f"{unique}-{outcome}" for outcome in ("ended", "failed", "active", "reset")]
        for name in names:
            await _write(manager, name, 1)
        await manager.end_stream(names[0])
        await manager.fail_stream(names[1], "no")
        await manager.end_stream(names[3])
        await manager.reset_stream(names[3])
        assert await manager.get_info(names[0]) is not None
        await clock.advance(3.2)
        assert [await manager.get_info(name) is None for name in names] == [True, True, False, False]
        with pytest.raises(StreamNotFoundError):
            await manager.create_reader(names[0])
        assert await _write(manager, names[0], 2) == 2

    async def test_an_idle_stream_is_gone(
        self, stream_namespace: ObjectNamespace, stream_options: StreamOptions, clock: Time, unique: str
    ) -> None:
        """SM-35: `keep_idle` counts from the last change of a stream that has not ended. None keeps the stream."""
        idle = DurableObjectStreamManager(stream_namespace, options=replace(stream_options, keep_idle=3))
        kept = replace(stream_options, keep_idle=None, keep_after_end=None)
        kept_manager = DurableObjectStreamManager(stream_namespace, options=kept)
        await _write(idle, unique, 1)
        await _write(kept_manager, f"{unique}-kept", 1)
        await clock.advance(1.7)
        assert await _write(idle, unique, 2) == 2
        await clock.advance(1.7)
        assert await idle.get_info(unique) is not None
        await clock.advance(3.2)
        assert await idle.get_info(unique) is None
        assert await kept_manager.get_info(f"{unique}-kept") is not None

    async def test_adaptive_writes_are_seen_at_once(
        self, stream_namespace: ObjectNamespace, stream_options: StreamOptions, unique: str
    ) -> None:
        """SM-36: In adaptive mode a reader sees each chunk when its write returns, in order. `flush` returns the last sequence."""
        options = replace(stream_options, adaptive=True, loss_window=30, flush_interval=60)
        manager = DurableObjectStreamManager(stream_namespace, options=options)
        writer = await manager.create_writer(unique, "agent", "researcher")
        reader = await manager.create_reader(unique)
        for number in range(1, 6):
            await writer.write(_text(number))
            assert await _next(reader) == number
            assert reader.sequence == number
        assert writer.pending == []
        assert await writer.flush() == 5
        await writer.write(_text(6))
        assert await _write(manager, unique, 7) == 7
        await manager.end_stream(unique)
        assert await _read(reader) == [(6, 6), (7, 7)]
        async with manager.create_resumable_reader(unique, 2) as late:
            assert [number for _, number in await _read(late)] == [3, 4, 5, 6, 7]

    async def test_a_lost_reply_in_adaptive_mode_shows_nothing_twice(
        self, stream_namespace: ObjectNamespace, stream_options: StreamOptions, clock: Time, unique: str
    ) -> None:
        """SM-9, SM-36: A write with a lost reply is sent again, and its chunk is shown once."""
        faulty = FaultyNamespace(stream_namespace)
        options = replace(stream_options, adaptive=True)
        manager = DurableObjectStreamManager(faulty, options=options)
        writer = await manager.create_writer(unique, "agent", "researcher")
        for number in range(1, 4):
            faulty.fail("after", "before")
            await while_time_passes(clock, writer.write(_text(number)))
        assert await while_time_passes(clock, writer.close()) == 3
        await manager.end_stream(unique)
        async with manager.create_reader(unique) as reader:
            assert await _read(reader) == [(1, 1), (2, 2), (3, 3)]
