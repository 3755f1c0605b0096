"""An agent of the OpenAI Agents SDK whose conversation survives in D1, with a tool, a lock and its usage.

GET /ask?session=ada&say=fen     the agent looks the word up, and answers
GET /items?session=ada           the kinds of the stored items
GET /forget?session=ada          takes the last question and its answer back
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
from missing_wheels import fill_in_missing

__all__ = ["Default", "LockServer"]

fill_in_missing()


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
        import words_agent  # noqa: PLC0415 - the SDK takes seconds to import: not before the first request

        database, session_id = self.env.AGENT_DB, query.get("session", "ada")
        if name == "items":
            return await words_agent.items(database, session_id)
        calls = {"ask": words_agent.ask, "forget": words_agent.forget}
        if name not in calls:
            raise InvalidArgumentError("ask for /ask, /items or /forget")
        locks = DurableObjectLockManager(self.env.LOCKS, default_ttl=float(self.env.LOCK_TTL_S))
        # One run of a session at a time. A run whose lock was lost can store nothing any more.
        async with locks.lock(session_id, wait=20, auto_refresh=True) as lock:
            return await calls[name](database, lock, session_id, query.get("say", ""))
