"""The classes are what the protocols say, for type checkers too."""

from agents_store_cloudflare.contract.streams.manager import StreamManager, StreamReader, StreamWriter
from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.testing import LocalObjects


async def test_the_manager_is_a_stream_manager() -> None:
    """SM-1: code that is written against the protocols runs on these classes."""
    manager: StreamManager = DurableObjectStreamManager(LocalObjects(StreamObject))
    writer: StreamWriter = await manager.create_writer("s", "a", "t")
    await writer.write({"type": "text"})
    await manager.end_stream("s", fencing_token=1)
    reader: StreamReader = await manager.create_reader("s")
    assert [chunk["type"] async for chunk in reader] == ["text"]
    async with manager.create_resumable_reader("s", 1) as resumed:
        assert [chunk async for chunk in resumed] == []
