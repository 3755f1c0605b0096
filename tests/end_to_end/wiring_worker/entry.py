"""A Worker that migrates its store and answers with what goes wrong."""

from typing import Any

from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import AgentsStoreError, LockServer, StreamServer, check_bindings, create_cloudflare_store

__all__ = ["Default", "LockServer", "StreamServer"]


class Default(WorkerEntrypoint):
    """Answers 200 where all is wired as it should be, else the error's status and text."""

    env: Any

    async def fetch(self, request: Request) -> Response:
        """Check the bindings, then migrate."""
        try:
            check_bindings(self.env)
            store = create_cloudflare_store(db=self.env.AGENT_DB, streams=self.env.STREAMS, locks=self.env.LOCKS)
            await store.migrate()
        except AgentsStoreError as error:
            return Response(str(error), status=error.http_status)
        return Response("wired")
