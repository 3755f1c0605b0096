"""A Worker that runs pytest inside itself: POST {"tests": [node ids]} and get each test's reports as pytest serialises them."""

import json
from typing import Any

from counted_stream import CountedStreamServer
from runner import run_tests
from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import LockServer, SessionServer, StreamServer

__all__ = ["CountedStreamServer", "Default", "LockServer", "SessionServer", "StreamServer"]


class Default(WorkerEntrypoint):
    """The door for the host's pytest."""

    env: Any

    async def fetch(self, request: Request) -> Response:
        """Run the tests named in the body."""
        if request.method != "POST":
            return Response("ready")
        wanted = json.loads(await request.text())
        return Response(json.dumps(run_tests(wanted["tests"], self.env)))
