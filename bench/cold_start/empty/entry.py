"""A Python Worker with nothing in it."""

from workers import Response, WorkerEntrypoint


class Default(WorkerEntrypoint):
    """The door."""

    async def fetch(self, _request: object) -> Response:
        """Any answer."""
        return Response("ready")
