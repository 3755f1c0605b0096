"""What a stream costs in the real runtime: rows written by its statements, alarms, and calls."""

from typing import Any

import pytest

from agents_store_cloudflare.cloudflare.namespace import as_namespace
from agents_store_cloudflare.objects import ObjectNamespace
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager


class CountingNamespace:
    """Counts calls."""

    def __init__(self, namespace: ObjectNamespace) -> None:
        self._namespace = namespace
        self.calls = 0

    async def call(self, name: str, request: str) -> str:
        self.calls += 1
        return await self._namespace.call(name, request)


@pytest.fixture
def namespace(env: Any) -> CountingNamespace:
    return CountingNamespace(as_namespace(env.COUNTED_STREAMS))


async def _write(
    namespace: ObjectNamespace, stream_id: str, *, chunks: int, flush_chunks: int, **options: Any
) -> DurableObjectStreamManager:
    manager = DurableObjectStreamManager(namespace, buffer_size=flush_chunks, flush_interval=60, **options)
    async with manager.create_writer(stream_id, "a", "b") as writer:
        for number in range(chunks):
            await writer.write({"type": "t", "x": f"{number:09}", "timestamp": 0})  # 60 bytes of JSON
    return manager


async def _rows_written(namespace: ObjectNamespace, stream_id: str) -> int:
    return int(await namespace.call(stream_id, "rows written"))


@pytest.mark.parametrize(("flush_chunks", "rows"), [(10, 45), (60, 12)])
async def test_rows_of_a_stream(namespace: CountingNamespace, unique: str, flush_chunks: int, rows: int) -> None:
    """SM-38: 400 chunks of 60 bytes; 60 a second, flushed every second. A table is two rows; head, alarm and end one each."""
    manager = await _write(namespace, unique, chunks=400, flush_chunks=flush_chunks)
    await manager.end_stream(unique)
    assert await _rows_written(namespace, unique) == rows


async def test_rows_of_an_adaptive_stream(namespace: CountingNamespace, unique: str) -> None:
    """SM-36, SM-38: 100 writes that are shown one by one are one block; the ceiling is one row more."""
    await _write(namespace, unique, chunks=100, flush_chunks=10, adaptive=True, loss_window=60)
    assert await _rows_written(namespace, unique) == 4 + 1 + 1


async def test_a_long_stream_is_caught_up_with_in_few_calls(namespace: CountingNamespace, unique: str) -> None:
    """SM-23, SM-38: 10,000 chunks are read in at most 12 calls, and reading writes nothing."""
    manager = await _write(namespace, unique, chunks=10_000, flush_chunks=500)
    await manager.end_stream(unique)
    written = await _rows_written(namespace, unique)
    namespace.calls = 0
    async with manager.create_reader(unique) as reader:
        assert len([chunk async for chunk in reader]) == 10_000
    assert namespace.calls <= 12
    assert await _rows_written(namespace, unique) == written


async def test_asking_for_unknown_streams_writes_nothing(namespace: CountingNamespace, unique: str) -> None:
    """SM-17, SM-38: Questions about unknown streams write no row."""
    manager = DurableObjectStreamManager(namespace)
    assert await manager.get_info(unique) is None
    for call in (manager.create_reader, manager.end_stream, manager.pause_stream, manager.delete_stream):
        with pytest.raises(Exception, match="does not exist"):
            await call(unique)
    assert await _rows_written(namespace, unique) == 0
