"""A Worker whose OpenAI agent keeps its session in D1: GET /import, POST /talk, /race, /rewind."""

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
        cost = import_cost("agents_store_cloudflare.adapters.openai_agents", "agent_sessions")
        name = request.url.rpartition("/")[2]
        if name == "import":
            await run_migration(self.env.AGENT_DB)
            return Response(json.dumps(cost))
        agent_sessions = importlib.import_module(
            "agent_sessions"
        )  # this folder has stand-ins, so no checker may search it
        call: Callable[[Any], Awaitable[object]] = getattr(agent_sessions, name)
        return Response(json.dumps(await call(self.env.AGENT_DB)))
