"""The jobs on streams."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench_job import Job

from agents_store_cloudflare import DurableObjectStreamManager

__all__ = ["STREAM_JOBS", "prepare_stream", "read_chunks", "stream_manager", "write_chunks"]

FLUSH_CHUNKS = 50


@dataclass(kw_only=True)
class StreamWrite(Job):
    written: int = 0

    async def once(self) -> None:
        self.written += 1
        await write_chunks(stream_manager(self.env, self.input["flushChunks"]), self._stream(), self.input["chunks"])

    async def read_back(self) -> object:
        manager = stream_manager(self.env)
        await manager.end_stream(self._stream())
        return {"chunks": await read_chunks(manager, self._stream())}

    def _stream(self) -> str:
        return f"{self.key}-{self.written}"


@dataclass(kw_only=True)
class StreamReplay(Job):
    chunks: list[Any] = field(default_factory=list[Any])

    async def once(self) -> None:
        self.chunks = await read_chunks(stream_manager(self.env), self.input["stream"])

    async def read_back(self) -> object:
        return {"chunks": self.chunks}


STREAM_JOBS: Mapping[str, type[Job]] = {"stream_write": StreamWrite, "stream_replay": StreamReplay}


async def prepare_stream(env: Any, given: Mapping[str, Any]) -> None:
    """An ended stream."""
    manager = stream_manager(env)
    await write_chunks(manager, given["stream"], given["chunks"])
    await manager.end_stream(given["stream"])


def stream_manager(env: Any, flush_chunks: int = FLUSH_CHUNKS) -> DurableObjectStreamManager:
    """Return a manager whose writers flush by count alone."""
    return DurableObjectStreamManager(env.STREAMS, buffer_size=flush_chunks, flush_interval=60)


async def write_chunks(manager: DurableObjectStreamManager, stream_id: str, chunks: list[dict[str, Any]]) -> None:
    """Open a writer, write, close."""
    async with manager.create_writer(stream_id, "agent-1", "bench") as writer:
        for chunk in chunks:
            await writer.write(chunk)


async def read_chunks(manager: DurableObjectStreamManager, stream_id: str) -> list[Any]:
    """Return every chunk of an ended stream."""
    async with manager.create_reader(stream_id) as reader:
        return [chunk async for chunk in reader]
