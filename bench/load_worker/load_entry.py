"""The Worker under load.

```text
POST /turn?session=…    one turn: a question, 20 chunks, an answer, usage
POST /chunk?stream=…    one chunk
GET  /events?stream=…   Server-Sent Events
GET  /memory            the bytes of Python's memory in the isolate
```
"""

from importlib import import_module
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import AgentsStoreError, LockServer, StreamServer, create_cloudflare_store

__all__ = ["Default", "LockServer", "StreamServer"]

CHUNKS = 20


class Default(WorkerEntrypoint):
    """The door for the load."""

    env: Any

    async def fetch(self, request: Request) -> Any:
        """Do one thing."""
        url = urlsplit(request.url)
        query = dict(parse_qsl(url.query))
        store = create_cloudflare_store(db=self.env.AGENT_DB, streams=self.env.STREAMS, locks=self.env.LOCKS)
        if url.path == "/events":
            return await store.stream_manager.sse_response(query["stream"], last_event_id="0")
        if url.path == "/memory":
            return Response(str(import_module("pyodide_js")._module.HEAP8.length))  # noqa: SLF001 - it has no other name
        try:
            match url.path:
                case "/migrate":
                    await store.migrate()
                case "/turn":
                    await self._turn(store, query["session"])
                case "/chunk":
                    async with store.stream_manager.create_writer(query["stream"], "agent", "load") as writer:
                        await writer.write({"type": "text", "text": "hello"})
                case _:
                    return Response("ready")
        except AgentsStoreError as error:
            return Response(error.code, status=error.http_status)
        return Response("done")

    async def _turn(self, store: Any, session_id: str) -> None:
        question = {"role": "user", "content": "What was stored?"}
        async with store.turn(session_id, agent_type="load", messages=[question], wait=30) as turn:
            for number in range(CHUNKS):
                await turn.write({"type": "text", "text": f"token {number} "})
            turn.add({"role": "assistant", "content": "What was stored is read back the same."})
            turn.record_tokens(model="some-model", prompt=100, completion=CHUNKS)
