"""An agent of the A2A SDK whose tasks survive in D1.

GET /send?context=ada&say=milk               the agent does the errand, or asks how much
GET /send?context=ada&say=two&task=TASK      answers what the agent has asked
GET /tasks?context=ada                       the tasks of a context, the newest first
GET /cancel?task=TASK                        cancels a task; a task that has ended stays as it is
"""

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import AgentsStoreError, InvalidArgumentError, run_migration

__all__ = ["Default"]


class Default(WorkerEntrypoint):
    """Answers in JSON, for reading with curl."""

    env: Any  # the bindings of wrangler.toml

    async def fetch(self, request: Request) -> Response:
        """Answer one request."""
        import errands_agent  # noqa: PLC0415 - the SDK takes a while to import: not before the first request

        url = urlsplit(request.url)
        query = dict(parse_qsl(url.query))
        calls = {"send": errands_agent.send, "tasks": errands_agent.tasks, "cancel": errands_agent.cancel}
        try:
            call = calls.get(url.path.strip("/"))
            if call is None:
                raise InvalidArgumentError("ask for /send, /tasks or /cancel")
            await run_migration(self.env.AGENT_DB)
            answer = await call(self.env.AGENT_DB, query)
        except AgentsStoreError as error:
            return Response(json.dumps(error.to_dict()), status=error.http_status)
        except errands_agent.A2AError as error:
            return Response(json.dumps({"error": {"code": type(error).__name__, "message": str(error)}}), status=400)
        return Response(json.dumps(answer, ensure_ascii=False))
