"""A Worker that runs tests of the adapters of pydantic-ai and its harness inside itself: POST {"tests": [node ids]}."""

import importlib
import json
from typing import Any

from runner import run_tests
from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import SessionServer, StreamServer

__all__ = ["Default", "SessionServer", "StreamServer"]


class Default(WorkerEntrypoint):
    """The door for the host's pytest."""

    env: Any

    async def fetch(self, request: Request) -> Response:
        """Run the tests named in the body."""
        # Before pytest turns warnings into errors: pydantic-ai uses what Python 3.14 calls deprecated.
        importlib.import_module("agents_store_cloudflare.adapters.pydantic_ai")
        wanted = json.loads(await request.text())
        return Response(json.dumps(run_tests(wanted["tests"], self.env)))
