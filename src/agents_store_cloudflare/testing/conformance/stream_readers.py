"""The conformance tests for readers of streams that begin anew, shared readers, and refused writers.

Subclass `StreamReaderConformance` and give it a `stream_namespace`. Each test names the clauses that it proves.
"""

from __future__ import annotations

import asyncio
from itertools import chain
from typing import Any

import pytest

from agents_store_cloudflare.contract.arguments import UNSET
from agents_store_cloudflare.contract.errors import (
    InvalidArgumentError,
    StaleFencingTokenError,
    StreamClosedError,
    StreamFailedError,
    StreamTruncatedError,
)
from agents_store_cloudflare.objects import ObjectNamespace
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.streams.options import StreamOptions
from agents_store_cloudflare.streams.reader import DurableObjectStreamReader
from agents_store_cloudflare.streams.writer import DurableObjectStreamWriter
from agents_store_cloudflare.testing.conformance.stream_fixtures import StreamFixtures, write_numbers

__all__ = ["StreamReaderConformance"]


async def _close_turn(
    manager: DurableObjectStreamManager, stream_id: str, turn_id: str, writer: str, number: int
) -> int | None:
    chunk = f'{{"type":"turn-end","turnId":"{turn_id}","n":{number}}}'
    return await manager.close_turn(stream_id, chunk, turn_id=turn_id, writer=writer, incarnation=None, pauses=False)


async def _rest(reader: DurableObjectStreamReader) -> list[Any]:
    return [chunk["n"] async for chunk in reader]


class StreamReaderConformance(StreamFixtures):
    """The contract of `StreamManager` for several managers, readers and writers of one stream."""

    @pytest.mark.parametrize("begins_by", ["reset", "deletion"])
    async def test_a_stored_position_of_an_earlier_life(
        self, stream_manager: DurableObjectStreamManager, unique: str, begins_by: str
    ) -> None:
        """SM-40: A reader from a position of an earlier life gets an error, even if it had all chunks. Positions of this life work."""
        await write_numbers(stream_manager, unique, 1, 2, 3)
        await (stream_manager.reset_stream if begins_by == "reset" else stream_manager.delete_stream)(unique)
        await write_numbers(stream_manager, unique, 4, 5)
        for position in (1, 2, 3):
            with pytest.raises(StreamTruncatedError, match="create_reader") as caught:
                await stream_manager.create_resumable_reader(unique, position)
            assert (caught.value.first_sequence, caught.value.was_reset) == (4, True)
        await stream_manager.end_stream(unique)
        async with stream_manager.create_resumable_reader(unique, 4) as reader:
            assert await _rest(reader) == [5]
        async with stream_manager.create_reader(unique) as reader:
            assert await _rest(reader) == [4, 5]

    async def test_a_reader_that_was_told_goes_on(
        self, stream_manager: DurableObjectStreamManager, unique: str
    ) -> None:
        """SM-32, SM-40: A reader gets one error for each new life, then it goes on, also after two lives without a chunk."""
        await write_numbers(stream_manager, unique, 1)
        reader = await stream_manager.create_reader(unique)
        assert (await anext(reader))["n"] == 1
        await stream_manager.reset_stream(unique)
        await stream_manager.reset_stream(unique)
        with pytest.raises(StreamTruncatedError):
            await anext(reader)
        await stream_manager.reset_stream(unique)
        await write_numbers(stream_manager, unique, 2)
        assert (await anext(reader))["n"] == 2
        await stream_manager.reset_stream(unique)
        with pytest.raises(StreamTruncatedError):
            await anext(reader)
        await reader.close()

    async def test_tasks_that_share_a_reader(self, stream_manager: DurableObjectStreamManager, unique: str) -> None:
        """SM-41: When tasks share a reader, each chunk goes to one task, and every task hears of the end."""
        await write_numbers(stream_manager, unique, 0, 1)
        reader = await stream_manager.create_reader(unique)
        tasks = [asyncio.ensure_future(_rest(reader)) for _ in range(3)]
        for number in range(2, 8):
            await write_numbers(stream_manager, unique, number)
        await stream_manager.end_stream(unique)
        got = await asyncio.gather(*tasks)
        assert sorted(chain.from_iterable(got)) == list(range(8))

    async def test_closing_a_shared_reader_stops_all_its_tasks(
        self, stream_manager: DurableObjectStreamManager, unique: str
    ) -> None:
        """SM-12, SM-41: `close` stops the task that waits for the stream, and the tasks that wait for each other."""
        await write_numbers(stream_manager, unique, 0)
        reader = await stream_manager.create_reader(unique)
        tasks = [asyncio.ensure_future(_rest(reader)) for _ in range(3)]
        for _ in range(5):
            await asyncio.sleep(0)
        await reader.close()
        assert sorted(chain.from_iterable(await asyncio.gather(*tasks))) == [0]

    @pytest.mark.parametrize("outcome", ["end", "fail", "pause"])
    @pytest.mark.parametrize("trouble", ["paused", "stale"])
    async def test_a_refused_writer_holds_nobody_up(
        self,
        stream_namespace: ObjectNamespace,
        stream_options: StreamOptions,
        unique: str,
        outcome: str,
        trouble: str,
    ) -> None:
        """SM-42: The end of a stream stores the other writers' chunks. The refused writer gets the error at its next call."""
        manager = DurableObjectStreamManager(stream_namespace, options=stream_options)
        refused = await manager.create_writer(unique, "a", "t", fencing_token=1)
        await refused.write({"type": "text", "n": 1})
        other = await manager.create_writer(unique, "b", "t", fencing_token=2 if trouble == "stale" else UNSET)
        await other.write({"type": "text", "n": 2})
        if trouble == "paused":
            await DurableObjectStreamManager(stream_namespace, options=stream_options).pause_stream(unique)
        if outcome == "end":
            await manager.end_stream(unique)
        elif outcome == "fail":
            await manager.fail_stream(unique, "no")
        else:
            await manager.pause_stream(unique)
        info = await manager.get_info(unique)
        assert info is not None
        assert info.status == {"end": "ended", "fail": "failed", "pause": "paused"}[outcome]
        assert info.count == (1 if trouble == "stale" else 0)
        assert len(refused.pending) == 1
        with pytest.raises(StaleFencingTokenError if trouble == "stale" else StreamClosedError):
            await refused.flush()

    async def test_the_blocks_own_error_wins(self, stream_manager: DurableObjectStreamManager, unique: str) -> None:
        """SM-42: When a writer cannot be closed, the block's own error or cancellation is still raised."""
        for error in (KeyError("mine"), asyncio.CancelledError()):
            writer = await stream_manager.create_writer(unique, "a", "t")

            async def block(error: BaseException, writer: DurableObjectStreamWriter) -> None:
                async with writer:
                    await writer.write({"type": "text", "n": 2})
                    await stream_manager.delete_stream(unique)
                    raise error

            with pytest.raises(type(error)):
                await block(error, writer)
            assert len(writer.pending) == 1

    async def test_a_reader_that_does_not_follow(self, stream_manager: DurableObjectStreamManager, unique: str) -> None:
        """SM-43: The reader stops after the stored chunks. A new iteration yields the chunks stored since."""
        await write_numbers(stream_manager, unique, 1, 2)
        reader = await stream_manager.create_reader(unique, follow=False)
        assert await _rest(reader) == [1, 2]
        assert await _rest(reader) == []
        await write_numbers(stream_manager, unique, 3)
        assert await _rest(reader) == [3]
        assert reader.status == "active"
        await stream_manager.fail_stream(unique, "no")
        with pytest.raises(StreamFailedError):
            await _rest(reader)
        async with stream_manager.create_reader(unique, follow=False) as another:
            assert [(await anext(another))["n"] for _ in range(3)] == [1, 2, 3]

    @pytest.mark.parametrize("closing", ["turn-end", "turn-failed"])
    async def test_a_reader_of_one_turn(
        self, stream_manager: DurableObjectStreamManager, unique: str, closing: str
    ) -> None:
        """SM-43: The reader stops after the chunk that closes its turn, whatever other turns and chunks there are."""
        async with stream_manager.create_writer(unique, "a", "t") as writer:
            for chunk in ("other", "mine", "later"):
                await writer.write({"type": "text", "n": chunk})
                await writer.write({"type": closing, "turnId": chunk, "n": f"{chunk} closed"})
        async with stream_manager.create_resumable_reader(unique, until_turn="mine") as reader:
            assert await _rest(reader) == ["other", "other closed", "mine", "mine closed"]
            assert reader.sequence == 4
            assert await _rest(reader) == []

    @pytest.mark.parametrize("until_turn", [("t",), ("t", "a", "b"), ("t", ""), ("", "a"), (1, "a"), ["t", "a"], 5])
    async def test_no_turn(self, stream_manager: DurableObjectStreamManager, unique: str, until_turn: Any) -> None:
        """SM-43: An argument that names no turn and no attempt is refused before anything is sent."""
        with pytest.raises((TypeError, InvalidArgumentError), match="until_turn"):
            await stream_manager.create_resumable_reader(unique, until_turn=until_turn)

    async def test_a_reader_behind_the_close_of_its_turn(
        self, stream_manager: DurableObjectStreamManager, unique: str
    ) -> None:
        """SM-43: If the turn was closed at or before the position, the reader stops at once."""
        await write_numbers(stream_manager, unique, 1)
        assert await _close_turn(stream_manager, unique, "mine", "turn-writer", 2) == 2
        await write_numbers(stream_manager, unique, 3)
        for position, expected in ((1, [2]), (2, []), (3, [])):
            async with stream_manager.create_resumable_reader(unique, position, until_turn="mine") as reader:
                assert [chunk["n"] async for chunk in reader] == expected

    async def test_a_reader_behind_the_close_of_an_earlier_turn(
        self, stream_manager: DurableObjectStreamManager, unique: str
    ) -> None:
        """SM-43: also where other turns were closed since; an attempt is not the other attempts of its turn id."""
        await write_numbers(stream_manager, unique, 1)
        await _close_turn(stream_manager, unique, "mine", "first attempt", 2)
        await _close_turn(stream_manager, unique, "other", "other writer", 3)
        await _close_turn(stream_manager, unique, "mine", "second attempt", 4)
        for number in range(20):
            await _close_turn(stream_manager, unique, f"more-{number}", f"writer {number}", 5 + number)
        first, second = ("mine", "first attempt"), ("mine", "second attempt")
        cases: list[tuple[str | tuple[str, str], int, list[int]]] = [
            ("mine", 1, [2]),
            ("mine", 2, [3, 4]),
            ("mine", 4, []),
            ("mine", 9, []),
            ("other", 3, []),
            ("more-0", 20, []),
            (first, 2, []),
            (first, 20, []),
            (second, 4, []),
        ]
        for until_turn, position, expected in cases:
            async with stream_manager.create_resumable_reader(unique, position, until_turn=until_turn) as reader:
                assert [chunk["n"] async for chunk in reader] == expected, (until_turn, position)
