"""Streams. One object a stream."""

from collections.abc import AsyncIterable
from typing import Any

from cost_ledger import Ledger

__all__ = ["stream_costs"]


def _chunk(number: int) -> dict[str, Any]:
    return {"type": "text", "text": f"{number:>5} " + 40 * "c"}


async def _consume(reader: AsyncIterable[object]) -> None:
    async for _ in reader:
        pass


async def stream_costs(ledger: Ledger) -> None:
    """Each group on streams of its own."""
    for part in (_writing, _ending, _reading, _life):
        await part(ledger)


async def _writing(ledger: Ledger) -> None:
    streams = ledger.streams
    with ledger.line("stream_manager.create_writer", "a new stream"):
        writer = await streams.create_writer("written", "agent", "cost")
    with ledger.line("writer.write", "1 chunk, the buffer has room"):
        await writer.write(_chunk(0))
    with ledger.line("writer.flush", "1 chunk, the first of a stream"):
        await writer.flush()
    with ledger.line("writer.flush", "nothing waits"):
        await writer.flush()
    for number in range(50):
        await writer.write(_chunk(number))
    with ledger.line("writer.flush", "50 chunks"):
        await writer.flush()
    with ledger.line("writer.write", "1 chunk at its expected_sequence"):
        await writer.write(_chunk(0), expected_sequence=52)
    await writer.write(_chunk(0))
    with ledger.line("writer.close", "1 chunk waits"):
        await writer.close()
    with ledger.line("stream_manager.create_writer", "a stream that is there"):
        writer = await streams.create_writer("written", "agent", "cost")
    with ledger.line("writer.close", "nothing waits"):
        await writer.close()
    with ledger.line("stream_manager.get_info"):
        await streams.get_info("written")
    with ledger.line("stream_manager.get_info", "an unknown stream"):
        await streams.get_info("never-written")


async def _ending(ledger: Ledger) -> None:
    streams = ledger.streams
    with ledger.line("stream_manager.end_stream"):
        await streams.end_stream("written", {"answer": 42})
    with ledger.line("stream_manager.end_stream", "again, the same"):
        await streams.end_stream("written", {"answer": 42})
    await (await streams.create_writer("failed", "agent", "cost")).close()
    with ledger.line("stream_manager.fail_stream"):
        await streams.fail_stream("failed", "no more")


async def _reading(ledger: Ledger) -> None:
    streams = ledger.streams
    with ledger.line("stream_manager.create_reader"):
        reader = await streams.create_reader("written")
    with ledger.line("reader, to the end", "53 chunks in 4 blocks: they came with the opening"):
        await _consume(reader)
    with ledger.line("reader.close"):
        await reader.close()
    async with streams.create_writer("long", "agent", "cost") as writer:
        for number in range(10_000):
            await writer.write(_chunk(number))
    await streams.end_stream("long")
    with ledger.line("stream_manager.create_resumable_reader", "from 9,950 of 10,000"):
        reader = await streams.create_resumable_reader("long", 9_950)
    with ledger.line("reader, to the end", "the last 50 of 10,000: they came with the opening"):
        await _consume(reader)
    async with streams.create_reader("long") as reader:
        with ledger.line("reader, to the end", "10,000 chunks in 100 blocks, after the opening"):
            await _consume(reader)
    with ledger.line("stream_manager.sse_response", "the request; the object's rows are not counted"):
        await streams.sse_response("written")


async def _life(ledger: Ledger) -> None:
    streams = ledger.streams
    await _written(ledger, "life")
    with ledger.line("stream_manager.pause_stream"):
        await streams.pause_stream("life")
    with ledger.line("stream_manager.resume_stream"):
        await streams.resume_stream("life")
    with ledger.line("stream_manager.resume_stream", "nothing to change"):
        await streams.resume_stream("life")
    with ledger.line("stream_manager.resume_stream", "nothing to change but the fence"):
        await streams.resume_stream("life", fencing_token=1)
    with ledger.line("stream_manager.reset_fence"):
        await streams.reset_fence("life")
    with ledger.line("stream_manager.truncate_stream", "200 of 500 chunks, 2 of 5 blocks"):
        await streams.truncate_stream("life", 201)
    with ledger.line("stream_manager.reset_stream", "3 blocks"):
        await streams.reset_stream("life")
    await _written(ledger, "life")
    with ledger.line("stream_manager.delete_stream", "5 blocks"):
        await streams.delete_stream("life")
    await ledger.session("with-a-stream")
    await _written(ledger, "with-a-stream")
    with ledger.line("store.delete_session", "20 messages, a stream of 5 blocks, no usage"):
        await ledger.store.delete_session("with-a-stream")
    await ledger.session("with-a-stream")
    await _written(ledger, "with-a-stream")
    with ledger.line("store.delete_session", "the same, with a commit id"):
        await ledger.store.delete_session("with-a-stream", commit_id="deletion")


async def _written(ledger: Ledger, stream_id: str) -> None:
    """Write 500 chunks in 5 blocks."""
    async with ledger.streams.create_writer(stream_id, "agent", "cost") as writer:
        for number in range(500):
            await writer.write(_chunk(number))
