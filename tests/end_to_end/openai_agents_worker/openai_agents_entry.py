"""A Worker with the OpenAI Agents SDK and nothing but what it needs: GET /import tells what its first import takes."""

import importlib
import json

from import_cost import import_cost
from workers import Request, Response, WorkerEntrypoint

__all__ = ["Default"]


class Default(WorkerEntrypoint):
    """The door for the test."""

    async def fetch(self, request: Request) -> Response:
        """Import the adapter and the SDK, after what every Worker of this package imports."""
        importlib.import_module("agents_store_cloudflare")
        return Response(json.dumps(import_cost("agents_store_cloudflare.adapters.openai_agents", "agents")))
