"""A Worker with the console, and a way to plant what it shows. With the variable HOMES its sessions live in homes."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from planting import plant
from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import LockServer, OperatorConsole, SessionServer, StreamServer, create_cloudflare_store

__all__ = ["Default", "LockServer", "SessionServer", "StreamServer"]


class Default(WorkerEntrypoint):
    """/console is the console's; POST /plant?what=… fills the store."""

    env: Any

    async def fetch(self, request: Request) -> Any:
        """Answer one request. The cookie `reader` may only look."""
        env = self.env
        sessions = env.SESSIONS if hasattr(env, "HOMES") else None
        store = create_cloudflare_store(db=env.AGENT_DB, streams=env.STREAMS, locks=env.LOCKS, sessions=sessions)
        if (answer := await OperatorConsole(store, authorize=_may).handle(request)) is not None:
            return answer
        query = {name: values[0] for name, values in parse_qs(urlsplit(request.url).query).items()}
        await store.migrate()
        return Response(json.dumps(await plant(store, env.AGENT_DB, query)))


def _may(request: Request, action: str) -> bool:
    cookie = str(request.headers.get("cookie") or "")
    return "who=nobody" not in cookie and (action == "read" or "who=reader" not in cookie)
