"""A Worker with a mistake: it keeps its store in a module global, where the next request finds it."""

from typing import Any

from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import CloudflareStore, LockServer, StreamServer, create_cloudflare_store

__all__ = ["Default", "LockServer", "StreamServer"]

CALLS = 100
kept: list[CloudflareStore] = []


class Default(WorkerEntrypoint):
    """POST writes chunk by chunk, GET asks again and again how many there are."""

    env: Any

    async def fetch(self, request: Request) -> Response:
        """Use the store of the first request."""
        if not kept:
            kept.append(create_cloudflare_store(db=self.env.AGENT_DB, streams=self.env.STREAMS, locks=self.env.LOCKS))
        streams = kept[0].stream_manager
        if request.method == "GET":
            for _ in range(CALLS):
                await streams.get_info("shared")
            return Response("read")
        async with streams.create_writer("shared", "a", "demo") as writer:
            for _ in range(CALLS):
                await writer.write({"type": "text", "text": "word "})
                await writer.flush()
        return Response("written")
