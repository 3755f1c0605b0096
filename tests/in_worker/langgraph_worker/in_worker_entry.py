"""A Worker that runs tests of the LangGraph adapter inside itself: POST {"tests": [node ids]}; GET tells what the first import took."""

import importlib
import json
import sys
import time
from typing import Any

from runner import run_tests
from workers import Request, Response, WorkerEntrypoint

__all__ = ["Default"]

_costs: list[dict[str, float]] = []


class Default(WorkerEntrypoint):
    """The door for the host's pytest."""

    env: Any

    async def fetch(self, request: Request) -> Response:
        """Run the tests named in the body."""
        # Before pytest turns warnings into errors: LangSmith uses what Python 3.14 calls deprecated.
        cost = _import()
        if request.method != "POST":
            return Response(json.dumps(cost))
        wanted = json.loads(await request.text())
        return Response(json.dumps(run_tests(wanted["tests"], self.env)))


def _import() -> dict[str, float]:
    """Import the adapter and a graph's builder; how many modules the first time brought in, and how long that took."""
    if not _costs:
        before, begin_s = len(sys.modules), time.monotonic()
        for name in ("agents_store_cloudflare.adapters.langgraph", "langgraph.graph"):
            importlib.import_module(name)
        _costs.append({"modules": len(sys.modules) - before, "seconds": time.monotonic() - begin_s})
    return _costs[0]
