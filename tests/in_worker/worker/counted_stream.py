"""A stream's object that counts what the platform bills: rows written by its statements, and alarms, a row each."""

from typing import Any

from workers import DurableObject

from agents_store_cloudflare.cloudflare.http import served
from agents_store_cloudflare.cloudflare.object_host import CloudflareHost
from agents_store_cloudflare.durable_streams.messages import MAX_BODY_BYTES
from agents_store_cloudflare.durable_streams.stream_object import StreamObject

__all__ = ["CountedStreamServer"]


class _CountedStorage:
    """`ctx.storage`, and its own `sql`."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage
        self._cursors: list[Any] = []
        self._alarms = 0
        self.sql = self

    def rows_written(self) -> int:
        """So far; a cursor knows when it is exhausted."""
        return self._alarms + sum(int(cursor.rowsWritten) for cursor in self._cursors)

    def exec(self, *arguments: Any) -> Any:
        cursor = self._storage.sql.exec(*arguments)
        self._cursors.append(cursor)
        return cursor

    def setAlarm(self, at_ms: int) -> None:  # noqa: N802 - the platform's name
        self._alarms += 1
        self._storage.setAlarm(at_ms)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


class _CountedContext:
    def __init__(self, ctx: Any, storage: _CountedStorage) -> None:
        self._ctx = ctx
        self.storage = storage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)


class CountedStreamServer(DurableObject):
    """`StreamServer`, but `call("rows written")` says how many."""

    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        raw = self.ctx.storage
        self._storage = _CountedStorage(getattr(raw, "_binding", raw))
        self._stream = StreamObject(CloudflareHost(_CountedContext(self.ctx, self._storage)))

    async def call(self, request: str) -> str:
        """Answer one request text with one reply text."""
        if request == "rows written":
            return str(self._storage.rows_written())
        return await self._stream.call(request)

    async def fetch(self, request: Any) -> Any:
        """A request of the Durable Streams protocol."""
        stream_id = self.ctx.id.name
        return await served(request, lambda complete: self._stream.serve(stream_id, complete), MAX_BODY_BYTES)

    async def alarm(self, _info: Any = None) -> None:
        """Do what is due."""
        await self._stream.alarm()
