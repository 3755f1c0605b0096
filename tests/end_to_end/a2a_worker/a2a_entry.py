"""A Worker that serves an A2A agent whose tasks are in D1: GET /import, POST /answer, /cancel, /fence, /large."""

import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import run_migration

__all__ = ["Default"]


class Default(WorkerEntrypoint):
    """The door for the test."""

    env: Any

    async def fetch(self, request: Request) -> Response:
        """Answer one command."""
        began = time.time()
        import server_tasks

        imported_ms = round((time.time() - began) * 1000)
        name = request.url.rpartition("/")[2]
        if name == "import":
            await run_migration(self.env.AGENT_DB)
            return Response(json.dumps({"importedMs": imported_ms}))
        call: Callable[[Any], Awaitable[object]] = getattr(server_tasks, name)
        return Response(json.dumps(await call(self.env.AGENT_DB)))
