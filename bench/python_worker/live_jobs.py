"""One append and its live readers, on WebSockets that let the object hibernate.

As on the JavaScript side, the readers are JavaScript's own promises. So the way to them is measured, and not Python's handlers.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from bench_job import Job, raw
from stream_jobs import stream_manager

from agents_store_cloudflare.cloudflare.namespace import CloudflareNamespace

__all__ = ["LIVE_JOBS", "listening", "messages_of"]

JsObject: TypeAlias = Any  # what crosses from JavaScript has no Python type


@dataclass(kw_only=True)
class FanOut(Job):
    """Append a chunk, and end when the last reader has it."""

    has_before_each: bool = True
    writer: Any = field(init=False)
    readers: list[JsObject] = field(init=False)
    arrived: JsObject = field(init=False)
    events: JsObject = field(init=False)

    async def set_up(self) -> None:
        self.writer = await stream_manager(self.env).create_writer(self.key, "agent-1", "bench")
        self.readers = await listening(CloudflareNamespace(raw(self.env.STREAMS)), self.key, self.input["readers"])

    async def before_each(self) -> None:
        self.arrived = messages_of(self.readers)

    async def once(self) -> None:
        await self.writer.write(self.input["chunk"])
        await self.writer.flush()
        self.events = await self.arrived

    async def read_back(self) -> object:
        await self.writer.close()
        for reader in self.readers:
            reader.close()
        return {"chunks": [json.loads(event.data)["data"] for event in self.events]}


LIVE_JOBS: Mapping[str, type[Job]] = {"fan_out": FanOut}


async def listening(namespace: CloudflareNamespace, stream_id: str, count: int, *, after: int = 0) -> list[JsObject]:
    """Return so many WebSockets of a stream. Each has what was stored, and waits.

    Args:
        after: the position after which they read.
    """
    url, headers = f"https://stream/?from={after}", {"Upgrade": "websocket"}
    responses: list[JsObject] = await asyncio.gather(*[namespace.fetch(stream_id, url, headers) for _ in range(count)])
    readers = [response.webSocket for response in responses]
    caught_up = messages_of(readers)
    for reader in readers:
        reader.accept()
    await caught_up
    return readers


def messages_of(readers: list[JsObject]) -> JsObject:
    """Return a promise of every reader's next message."""
    import js  # noqa: PLC0415
    from pyodide.ffi import to_js  # noqa: PLC0415

    once = to_js({"once": True}, dict_converter=js.Object.fromEntries)
    promises: list[JsObject] = []
    for reader in readers:
        arrival = js.Promise.withResolvers()
        reader.addEventListener("message", arrival.resolve, once)
        promises.append(arrival.promise)
    return js.Promise.all(to_js(promises))
