"""A Worker that serves an A2A agent whose tasks are in D1: GET /import, POST /answer, /cancel, /fence, /large."""

import importlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

from import_cost import import_cost
from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import run_migration

__all__ = ["Default"]


class Default(WorkerEntrypoint):
    """The door for the test."""

    env: Any

    async def fetch(self, request: Request) -> Response:
        """Answer one command."""
        cost = import_cost("agents_store_cloudflare.adapters.a2a", "a2a.server.request_handlers", "server_tasks")
        name = request.url.rpartition("/")[2]
        if name == "import":
            await run_migration(self.env.AGENT_DB)
            return Response(json.dumps(cost))
        call: Callable[[Any], Awaitable[object]] = getattr(importlib.import_module("server_tasks"), name)
        return Response(json.dumps(await call(self.env.AGENT_DB)))
