"""A Worker whose agent keeps its conversations in D1: GET /import, POST /talk, /race, /large, /long, /spend, /steps."""

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
        import conversations
        import harness_stores
        import pydantic_ai

        imported_ms = round((time.time() - began) * 1000)
        name = request.url.rpartition("/")[2]
        if name == "import":
            await run_migration(self.env.AGENT_DB)
            return Response(json.dumps({"version": pydantic_ai.__version__, "importedMs": imported_ms}))
        call: Callable[[Any], Awaitable[object]] = getattr(
            harness_stores if name in harness_stores.__all__ else conversations, name
        )
        return Response(json.dumps(await call(self.env.AGENT_DB)))
