"""A Worker that writes and reads streams as it is told.

```text
POST /append?stream=…   the body: a JSON list of chunks, stored by one writer; {"last"} when they are durable
POST /flushes?stream=…&chunks=…&size=…&flush=…   that many chunks of that size, `flush` at a time
POST /end?stream=…
GET  /page?stream=…&from=…   by a reader: [[sequence, chunk], …] of what is stored now after a position
GET  /events?stream=…   Server-Sent Events after Last-Event-ID
```
"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import AgentsStoreError, DurableObjectStreamManager, StreamServer

__all__ = ["Default", "StreamServer"]


class Default(WorkerEntrypoint):
    """The door for the test."""

    env: Any

    async def fetch(self, request: Request) -> Any:
        """Do one thing."""
        url = urlsplit(request.url)
        query = dict(parse_qsl(url.query))
        manager = DurableObjectStreamManager(self.env.STREAMS, flush_interval=60, buffer_size=10_000)
        if url.path == "/events":
            return await manager.sse_response(query["stream"], last_event_id=request.headers.get("Last-Event-ID"))
        commands = {"/append": _append, "/flushes": _flushes, "/end": _end, "/page": _page}
        if url.path not in commands:
            return Response("ready")
        body = await request.text() if request.method == "POST" else ""
        try:
            return Response(json.dumps(await commands[url.path](manager, query, body)))
        except AgentsStoreError as error:
            return Response(json.dumps(error.to_dict()), status=error.http_status)


async def _append(manager: DurableObjectStreamManager, query: Mapping[str, str], body: str) -> Any:
    writer = await manager.create_writer(query["stream"], "agent", "test")
    for chunk in json.loads(body):
        await writer.write(chunk)
    return {"last": await writer.close()}


async def _flushes(manager: DurableObjectStreamManager, query: Mapping[str, str], _body: str) -> Any:
    writer = await manager.create_writer(query["stream"], "agent", "test")
    for number in range(int(query["chunks"])):
        await writer.write({"type": "text", "n": number, "text": "x" * int(query["size"])})
        if (number + 1) % int(query["flush"]) == 0:
            await writer.flush()
    return {"last": await writer.close()}


async def _end(manager: DurableObjectStreamManager, query: Mapping[str, str], _body: str) -> Any:
    await manager.end_stream(query["stream"])
    return {}


async def _page(manager: DurableObjectStreamManager, query: Mapping[str, str], _body: str) -> Any:
    info = await manager.get_info(query["stream"])
    page: list[Any] = []
    async with manager.create_resumable_reader(query["stream"], int(query["from"])) as reader:
        while info is not None and reader.sequence < info.last_sequence:
            chunk = await anext(reader)
            page.append([reader.sequence, chunk])
    return page
