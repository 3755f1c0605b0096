"""An agent of LangGraph that survives in D1: tools, a question to a person, and a way back in time.

GET /ask?thread=ada&say=Oslo          runs the graph until it ends, or asks a person
GET /answer?thread=ada&say=yes        goes on with the person's answer
GET /history?thread=ada               the checkpoints of the thread
GET /back?thread=ada&to=CHECKPOINT    goes on from an earlier checkpoint
GET /trips                            what the agent remembers of all threads
"""

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import (
    AgentsStoreError,
    DurableObjectLockManager,
    InvalidArgumentError,
    LockServer,
    run_migration,
)
from orjson_place import fill_in_orjson

__all__ = ["Default", "LockServer"]

fill_in_orjson()


class Default(WorkerEntrypoint):
    """Answers in JSON, for reading with curl."""

    env: Any  # the bindings of wrangler.toml

    async def fetch(self, request: Request) -> Response:
        """Answer one request."""
        url = urlsplit(request.url)
        try:
            await run_migration(self.env.AGENT_DB)
            answer = await self._answer(url.path.strip("/"), dict(parse_qsl(url.query)))
        except AgentsStoreError as error:
            return Response(json.dumps(error.to_dict()), status=error.http_status)
        return Response(json.dumps(answer, ensure_ascii=False))

    async def _answer(self, name: str, query: dict[str, str]) -> object:
        import travel_graph  # noqa: PLC0415 - LangGraph takes seconds to import: not before the first request

        database, thread = self.env.AGENT_DB, query.get("thread", "ada")
        if name == "history":
            return await travel_graph.history(database, thread)
        if name == "trips":
            return await travel_graph.trips(database)
        runs = {"ask": travel_graph.ask, "answer": travel_graph.answer, "back": travel_graph.go_back}
        if name not in runs:
            raise InvalidArgumentError("ask for /ask, /answer, /history, /back or /trips")
        locks = DurableObjectLockManager(self.env.LOCKS, default_ttl=float(self.env.LOCK_TTL_S))
        # One run of a thread at a time. A run whose lock was lost can store nothing any more.
        async with locks.lock(thread, wait=20, auto_refresh=True) as lock:
            return await runs[name](database, lock, thread, query.get("to") or query.get("say", ""))
