"""A Worker that makes every public call once on data that it names, and answers with what each cost."""

import json
import traceback
from typing import Any, cast

from cost_ledger import Ledger
from lock_costs import lock_costs
from migration_costs import leaving_costs, migration_costs
from page_costs import page_costs
from state_costs import state_costs
from step_costs import step_costs
from stream_costs import stream_costs
from turn_costs import turn_costs
from usage_costs import usage_costs
from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import LockServer, SessionServer, StreamServer
from agents_store_cloudflare.cloudflare.d1 import D1Database, as_database
from agents_store_cloudflare.database import SqlError, Statement

__all__ = ["Default", "LockServer", "SessionServer", "StreamServer"]

# In this order: the first meets an empty database, `leaving_costs` removes everything.
PARTS = (
    migration_costs,
    state_costs,
    step_costs,
    usage_costs,
    stream_costs,
    lock_costs,
    turn_costs,
    leaving_costs,
    page_costs,
)


class Default(WorkerEntrypoint):
    """POST / measures, once in the life of its database. PUT / runs one batch for the adapters, which run on the host."""

    env: Any

    async def fetch(self, request: Request) -> Response:
        """All rows of the table, or the traceback of what went wrong."""
        if request.method == "PUT":
            return await self._batch(json.loads(await request.text()))
        if request.method != "POST":
            return Response("ready")
        ledger = Ledger(self.env)
        try:
            for part in PARTS:
                await part(ledger)
        except Exception:  # noqa: BLE001 - the host shows it
            return Response(traceback.format_exc(), status=500)
        return Response(json.dumps(ledger.lines))

    async def _batch(self, given: list[Any]) -> Response:
        database = cast("D1Database", as_database(self.env.AGENT_DB))
        try:
            results, cost = await database.measured_batch([Statement(sql, tuple(values)) for sql, values in given])
        except SqlError as error:
            return Response(str(error), status=409)
        return Response(json.dumps([results, cost.statements, cost.rows_read, cost.rows_written]))
