"""Tells the subscription index about the changes of a stream that a subscription covers.

The index asks the stream's object once to report changes (`mark`). From then on the object reports each change when it is stored:
from a request of the protocol, a native writer, a timer or an expiry. The mark survives deletions, so that the changes of the next
stream at this path are reported too. The mark is removed when the index answers that no subscription covers the path any more.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from agents_store_cloudflare.contract.errors import AgentsStoreError
from agents_store_cloudflare.contract.json_values import JsonObject
from agents_store_cloudflare.database import SqlError
from agents_store_cloudflare.durable_streams import sql as q
from agents_store_cloudflare.durable_streams.stream_facts import life_of
from agents_store_cloudflare.durable_streams.subscriptions.index_object import INDEX_NAME, PREFIX
from agents_store_cloudflare.objects import ObjectCallError, ObjectHost, with_retry
from agents_store_cloudflare.objects.rpc_text import decode_reply, encode_request
from agents_store_cloudflare.streams.head import StreamHead
from agents_store_cloudflare.streams.log import StreamLog

__all__ = ["TOLD_HEADER", "Tellings"]

TOLD_HEADER: Final = "agents-told"
"""The header of an answer of an object that has told the index. Then the Worker does not tell it."""

AGAIN_MS: Final = 60_000
"""The pause after a report without an answer. After it the alarm reports the stream's state at that moment."""


class Tellings:
    """Tells the index about the changes of one stream. It never raises, because the change has succeeded."""

    def __init__(self, host: ObjectHost, logger: logging.Logger) -> None:
        self._host = host
        self._logger = logger
        self._path: str | None = None
        self._is_loaded = False
        self._marks = 0
        self._told: tuple[int, str, bool] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def mark(self, log: StreamLog) -> None:
        """Tell the index about each later change. The caller tells it the present state."""
        self._marks += 1
        self._told = _place(log)
        if self._marked_path() is None:
            self._host.sql.exec(q.CREATE_TOLD)
            self._host.sql.exec(q.INSERT_TOLD, log.stream_id)
            self._path = log.stream_id

    def is_marked(self) -> bool:
        """Return whether the index has asked for reports about this stream."""
        return self._marked_path() is not None

    def owes(self, log: StreamLog) -> bool:
        """Return whether the index must be told. After a restart it is told again, because the restart may have prevented a report."""
        place = None if self._marked_path() is None else _place(log)
        return place is not None and place != self._told

    async def tell(self, log: StreamLog) -> None:
        """Tell the index about the stored change. If no answer comes, an alarm tells it later."""
        head, place, path, marks = log.last_known(), _place(log), self._marked_path(), self._marks
        if head is None or path is None:
            return
        try:
            is_covered = await self._ask(path, head, place)
        except (AgentsStoreError, ObjectCallError) as error:
            self._logger.warning("the subscription index was not told of stream %r yet: %s", path, error)
            self._host.set_alarm(self._host.now_ms() + AGAIN_MS)
            return
        self._told = place
        if not is_covered and marks == self._marks:
            self._host.sql.exec(q.DELETE_TOLD)
            self._path = None

    def tell_later(self, log: StreamLog) -> None:
        """Tell the index about chunks that a timer has stored."""
        if self.owes(log):
            task = asyncio.ensure_future(self.tell(log))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _ask(self, path: str, head: StreamHead, place: tuple[int, str, bool] | None) -> bool:
        about: JsonObject = {"path": path, "life": life_of(head), "begun": head.begun_after, "isStream": True}
        if head.is_deleted:
            request = encode_request(PREFIX + "gone", {"streamId": INDEX_NAME, **about})
        else:
            tail = 0 if place is None else place[0]
            more: JsonObject = {"tail": tail, "before": min(head.begun_after, tail), "dueMs": head.due_ms}
            request = encode_request(PREFIX + "appended", {"streamId": INDEX_NAME, **about, **more})
        siblings = self._host.siblings()
        reply = decode_reply(await with_retry(lambda: siblings.call(INDEX_NAME, request)))
        answered: dict[str, Any] = reply.head["ok"]
        return bool(answered.get("value"))

    def _marked_path(self) -> str | None:
        if not self._is_loaded:
            try:
                rows = self._host.sql.exec(q.SELECT_TOLD)
            except SqlError as error:
                if not error.is_missing_table():
                    raise
                rows = []
            self._path, self._is_loaded = (str(rows[0][0]) if rows else None), True
        return self._path


def _place(log: StreamLog) -> tuple[int, str, bool] | None:
    """Return the reported state of a stream: its last stored sequence, its life, and whether it is deleted.

    None if there never was a stream.
    """
    head = log.last_known()
    if head is None:
        return None
    return (0 if head.is_deleted else log.stored_sequence()), head.incarnation, head.is_deleted
