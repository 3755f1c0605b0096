"""A Worker that migrates its store and answers with what goes wrong. With the variable HOMES its sessions are in homes.

The variable FIRST=call makes it leave out the two checks: the first call of a store meets the mistake.
"""

from typing import Any

from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import (
    AgentsStoreError,
    LockServer,
    SessionServer,
    StreamServer,
    check_bindings,
    create_cloudflare_store,
    run_migration,
)

__all__ = ["Default", "LockServer", "SessionServer", "StreamServer"]


class Default(WorkerEntrypoint):
    """Answers 200 where all is wired as it should be, else the error's status and text."""

    env: Any

    async def fetch(self, request: Request) -> Response:
        """Check the bindings, migrate, and make a session."""
        env = self.env
        homes = getattr(env, "HOMES", None)
        is_checked = getattr(env, "FIRST", "") != "call"
        try:
            if is_checked:
                check_bindings(env, sessions=homes)
            sessions = None if homes is None else getattr(env, homes)
            store = create_cloudflare_store(db=env.AGENT_DB, streams=env.STREAMS, locks=env.LOCKS, sessions=sessions)
            await (store.migrate() if is_checked else run_migration(env.AGENT_DB))
            await store.state_store.create_session("ada", agent_type="x", exist_ok=True)
        except AgentsStoreError as error:
            return Response(str(error), status=error.http_status)
        return Response("wired")
