"""The lock and the stream with the home's name, in the home's own object and database."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping
from typing import Any, Final, LiteralString

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.homes.tables import HomeTables
from agents_store_cloudflare.homes.wire import APART, ASK_FIRST, ELSEWHERE, FOUND, UNASKED, WHERE
from agents_store_cloudflare.locks.floor import FLOOR
from agents_store_cloudflare.locks.lease_table import LEASE
from agents_store_cloudflare.locks.lock_object import LockObject
from agents_store_cloudflare.objects import ObjectHost
from agents_store_cloudflare.objects.rpc_text import encode_reply

__all__ = ["OwnParts"]

PLACE: Final = "parts_v1"
"""The key that a home stores when its lock and stream had objects of their own before."""

_HAS_STREAM: LiteralString = "SELECT 1 FROM sqlite_master\nWHERE name = 'blocks'"


class OwnParts:
    """Decides once whether the home's lock and stream live here or in objects of their own. Their first row here decides it too.

    Args:
        host: the object's platform, with the shared alarm.
        logger: gets unexpected errors of the stream.
    """

    def __init__(self, host: ObjectHost, tables: HomeTables, logger: logging.Logger) -> None:
        self._host = host
        self._tables = tables
        self.stream: StreamObject = StreamObject(host, logger=logger)
        self.lock: LockObject = LockObject(host, logger=logger)
        self._is_here = False

    def answer(self, head: Mapping[str, Any], request: str) -> str | Awaitable[str]:
        """Return the reply to an operation of the stream or the lock, or the place where they live."""
        place = self.place_of(head)
        if place is not None:
            return place
        if head["op"] == WHERE:
            return encode_reply(None)
        return self.stream.answer(request) if "streamId" in head else self.lock.answer(request)

    def place_of(self, head: Mapping[str, Any]) -> str | None:
        """Return None if the lock and the stream live here, otherwise the answer for the caller.

        Raises:
            InvalidArgumentError: the call is for another home.
        """
        name = head.get("streamId", head.get("key", head.get("home")))
        record = self._tables.record()
        if record is not None and name != record.home:
            raise InvalidArgumentError(f"this object is home {record.home!r}, the call is for {name!r:.600}")
        return self._place(str(name), head.get("place"))

    def are_here(self, home: str) -> bool:
        """Return whether the lock or the stream has ever had a row here."""
        if not self._is_here:
            sql = self._host.sql
            self._is_here = (
                sql.get_text(LEASE + home) is not None or bool(sql.exec(_HAS_STREAM)) or sql.get_text(FLOOR) is not None
            )
        return self._is_here

    def _place(self, home: str, wanted: str | None) -> str | None:
        if self.are_here(home):
            return None
        record = self._tables.record()
        is_apart = record is not None and not record.options.get("streams", True)
        if is_apart or wanted == APART or self._host.sql.get_text(PLACE) is not None:
            return ELSEWHERE
        if wanted == FOUND:
            self._host.sql.put_text(PLACE, APART)
            return ELSEWHERE
        return ASK_FIRST if wanted == UNASKED else None
