"""A Worker that makes every public call once on data that it names, and answers with what each cost."""

import json
import traceback
from typing import Any

from cost_ledger import Ledger
from lock_costs import lock_costs
from migration_costs import leaving_costs, migration_costs
from state_costs import state_costs
from step_costs import step_costs
from stream_costs import stream_costs
from turn_costs import turn_costs
from usage_costs import usage_costs
from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import LockServer, SessionServer, StreamServer

__all__ = ["Default", "LockServer", "SessionServer", "StreamServer"]

# In this order: the first meets an empty database, the last removes everything.
PARTS = (migration_costs, state_costs, step_costs, usage_costs, stream_costs, lock_costs, turn_costs, leaving_costs)


class Default(WorkerEntrypoint):
    """POST / measures, once in the life of its database."""

    env: Any

    async def fetch(self, request: Request) -> Response:
        """All rows of the table, or the traceback of what went wrong."""
        if request.method != "POST":
            return Response("ready")
        ledger = Ledger(self.env)
        try:
            for part in PARTS:
                await part(ledger)
        except Exception:  # noqa: BLE001 - the host shows it
            return Response(traceback.format_exc(), status=500)
        return Response(json.dumps(ledger.lines))
