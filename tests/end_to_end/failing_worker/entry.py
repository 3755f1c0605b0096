"""A Worker whose objects fail: their storage holds other tables under the package's names, or their class raises."""

import logging
from typing import Any
from urllib.parse import urlsplit

from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import (
    AgentsStoreError,
    LockServer as SoundLockServer,
    StreamServer as SoundStreamServer,
    create_cloudflare_store,
)

__all__ = ["Default", "LockServer", "RaisingLockServer", "StreamServer"]


class StreamServer(SoundStreamServer):
    """A stream whose table of blocks has other columns."""

    def __init__(self, ctx: Any, env: Any) -> None:
        ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS blocks (planted TEXT)")
        super().__init__(ctx, env)


class LockServer(SoundLockServer):
    """A lock whose stored lease is no lease."""

    def __init__(self, ctx: Any, env: Any) -> None:
        ctx.storage.kv.put("lease_v1/ada", "planted")
        super().__init__(ctx, env)


class RaisingLockServer(SoundLockServer):
    """A lock whose owner has overridden `call`, with a mistake."""

    def call(self, request: object = None, *more: object, **named: object) -> object:
        """Raise."""
        raise RuntimeError("planted in call")


class Default(WorkerEntrypoint):
    """`/stream` and `/lock` call an object that fails, and answer with the error. The Worker logs the error as a user's Worker does."""

    env: Any

    async def fetch(self, request: Request) -> Response:
        """Make one call."""
        path = urlsplit(request.url).path
        locks = self.env.RAISING if path == "/raising" else self.env.LOCKS
        store = create_cloudflare_store(db=self.env.AGENT_DB, streams=self.env.STREAMS, locks=locks)
        try:
            if path == "/stream":
                await store.stream_manager.get_info("ada")
            elif path in ("/lock", "/raising"):
                await store.locks.acquire("ada")
        except AgentsStoreError as error:
            logging.getLogger("caller").warning("the call failed: %s", error)
            return Response(str(error), status=error.http_status)
        return Response("no failure")
