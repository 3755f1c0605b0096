"""What a reader has while the model pauses inside a turn."""

from __future__ import annotations

import asyncio

from agents_store_cloudflare import CloudflareStore, DurableObjectStreamManager, StreamOptions, create_cloudflare_store
from agents_store_cloudflare.durable_streams import StreamObject
from agents_store_cloudflare.locks.lock_object import LockObject
from agents_store_cloudflare.testing import FakeClock, LocalObjects, SqliteDatabase

SETTLING = 50


async def test_a_pause_of_the_model_keeps_no_chunk_back() -> None:
    """SM-6, TU-2: In a turn, the flush interval works without `wait_until` and without a next write."""
    clock = FakeClock()
    store = create_cloudflare_store(
        db=SqliteDatabase(),
        streams=LocalObjects(StreamObject),
        locks=LocalObjects(LockObject),
        stream_options=StreamOptions(flush_interval=0.1, sleep=clock.sleep, now_ms=clock.now_ms),
    )
    await store.migrate()
    async with store.turn("ada", agent_type="a") as turn:
        await turn.write({"type": "text", "text": "Let me look this up."})
        assert await _stored(store) == 0
        await clock.advance(100)
        for _ in range(SETTLING):
            await asyncio.sleep(0)
        assert await _stored(store) == 1
    assert await _stored(store) == 2  # and the closing chunk


async def test_full_buffers_leave_no_timers() -> None:
    """SM-6: A full buffer is flushed at once and ends the interval. The tasks of a long interval do not pile up."""
    kept: list[asyncio.Future[None]] = []
    streams = DurableObjectStreamManager(
        LocalObjects(StreamObject),
        buffer_size=10,
        flush_interval=60,
        wait_until=lambda task: kept.append(asyncio.ensure_future(task)),
    )
    most = 0
    async with streams.create_writer("ada", "agent-1", "research") as writer:
        for number in range(1_000):
            await writer.write({"type": "text", "n": number})
            most = max(most, sum(not task.done() for task in kept))
    await asyncio.gather(*kept)  # none was cancelled
    assert most <= 3
    info = await streams.get_info("ada")
    assert info is not None
    assert info.last_sequence == 1_000


async def _stored(store: CloudflareStore) -> int:
    info = await store.stream_manager.get_info("ada")
    return 0 if info is None else info.last_sequence
