"""The empty Worker, with all of the package: the stores and both Durable Object classes."""

from workers import Response, WorkerEntrypoint

from agents_store_cloudflare import LockServer, StreamServer, create_cloudflare_store

__all__ = ["Default", "LockServer", "StreamServer", "create_cloudflare_store"]


class Default(WorkerEntrypoint):
    """The door."""

    async def fetch(self, _request: object) -> Response:
        """Any answer."""
        return Response("ready")
