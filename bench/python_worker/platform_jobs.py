"""The costs of the platform's own steps in Python, which are parts of the package's times. And a thousand idle streams."""

import asyncio
import gc
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench_job import Job
from stream_jobs import stream_manager

from agents_store_cloudflare.durable_streams.stream_object import StreamObject

__all__ = ["PLATFORM_JOBS"]


@dataclass(kw_only=True)
class PlatformStep(Job):
    """One of `STEPS`, `input["times"]` times."""

    async def once(self) -> None:
        await STEPS[self.input["step"]](self.input["times"])

    async def read_back(self) -> object:
        return {}


async def ffi_calls(times: int) -> None:
    """Call a JavaScript function that does almost nothing."""
    from js import Math  # noqa: PLC0415

    absolute = Math.abs
    for _ in range(times):
        absolute(1)


async def promises(times: int) -> None:
    """Wait for a JavaScript promise that is resolved already."""
    from js import Promise  # noqa: PLC0415

    for _ in range(times):
        await Promise.resolve(1)


async def coroutines(times: int) -> None:
    """Wait for a Python coroutine that waits for nothing."""
    for _ in range(times):
        await nothing()


async def tasks(times: int) -> None:
    """Wait for such a coroutine in a task of its own."""
    for _ in range(times):
        await asyncio.create_task(nothing())


async def encodings(times: int) -> None:
    """Encode one chunk as JSON text."""
    for _ in range(times):
        json.dumps(CHUNK)


async def decodings(times: int) -> None:
    """Decode one chunk from JSON text."""
    for _ in range(times):
        json.loads(CHUNK_TEXT)


async def nothing() -> None:
    """Do nothing."""


@dataclass(kw_only=True)
class TouchStreams(Job):
    """Write one chunk into each of many streams, by the package."""

    async def once(self) -> None:
        manager = stream_manager(self.env)
        for number in range(self.input["streams"]):
            async with manager.create_writer(f"{self.key}-{number}", "agent-1", "bench") as writer:
                await writer.write(CHUNK)

    async def read_back(self) -> object:
        return {}


@dataclass(kw_only=True)
class CountStreams(Job):
    """Count the streams whose objects are in the interpreter's memory. All objects of an isolate share it."""

    async def once(self) -> None:
        gc.collect()

    async def read_back(self) -> object:
        return {"living": sum(isinstance(each, StreamObject) for each in gc.get_objects())}


CHUNK: Mapping[str, Any] = {
    "type": "text-delta",
    "text": "token ",
    "agentId": "agent-1",
    "agentType": "bench",
    "timestamp": 1_700_000_000_000,
}
CHUNK_TEXT = json.dumps(CHUNK)
STEPS: Mapping[str, Callable[[int], Awaitable[None]]] = {
    "call": ffi_calls,
    "promise": promises,
    "coroutine": coroutines,
    "task": tasks,
    "encode": encodings,
    "decode": decodings,
}
PLATFORM_JOBS: Mapping[str, type[Job]] = {
    "platform": PlatformStep,
    "touch_streams": TouchStreams,
    "count_streams": CountStreams,
}
