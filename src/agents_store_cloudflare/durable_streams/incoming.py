"""The pages of a fork during its copy. They are kept beside the stream, which is made from all of them in one transaction."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, cast

from agents_store_cloudflare.contract.errors import StreamConnectionError
from agents_store_cloudflare.database import ObjectSql, SqlError
from agents_store_cloudflare.durable_streams import sql as q
from agents_store_cloudflare.streams.blocks import split_blocks

__all__ = ["IDLE_MS", "IncomingPages", "Origin"]

IDLE_MS: Final = 600_000
"""A copy counts as broken off if no page has come for this time."""

BLOCKS_A_PAGE: Final = 1_000
NAMES: Final = -1


@dataclass(frozen=True, slots=True)
class Origin:
    """The names of the copied stream and of its fork."""

    source_id: str
    fork_id: str


class IncomingPages:
    """The pages of the latest attempt to copy a source into this object. The table is dropped when the attempt ends."""

    def __init__(self, sql: ObjectSql, stream_id: str) -> None:
        self._sql = sql
        self._stream_id = stream_id

    def take(self, origin: Origin, token: str, number: int, lines: str, *, now_ms: int) -> None:
        """Store a page. The first page of an attempt drops the pages of every other attempt."""

        def write() -> None:
            if number == 0:
                self._sql.exec(q.DROP_INCOMING)
            self._sql.exec(q.CREATE_INCOMING)
            names = json.dumps([origin.source_id, origin.fork_id])
            self._sql.exec(q.INSERT_INCOMING, NAMES, token, now_ms, names)
            for part, block in enumerate(split_blocks(self._stream_id, lines)):
                self._sql.exec(q.INSERT_INCOMING, number * BLOCKS_A_PAGE + part, token, now_ms, block.body)

        self._sql.transaction(write)

    def stored(self, token: str, pages: int) -> Iterator[str]:
        """Yield the blocks of all pages of an attempt, in order.

        Raises:
            StreamConnectionError: another attempt came in between; the request may be sent again.
        """
        keys = cast("list[list[int]]", self._sql.exec(q.SELECT_INCOMING_KEYS, token)) if self.latest_ms() else []
        if {int(key) // BLOCKS_A_PAGE for [key] in keys} != set(range(pages)):
            raise StreamConnectionError(
                "two requests began this fork at once, or its copy took too long; send it again"
            )
        for [key] in keys:
            yield cast("str", self._sql.exec(q.SELECT_INCOMING, key)[0][0])

    def drop(self) -> None:
        """Drop all pages."""
        if self.latest_ms() is not None:
            self._sql.exec(q.DROP_INCOMING)

    def latest_ms(self) -> int | None:
        """Return the time at which the latest page came; None while no copy runs."""
        try:
            rows = cast("list[list[int]]", self._sql.exec(q.SELECT_INCOMING_LATEST))
        except SqlError as error:
            if error.is_missing_table():
                return None
            raise
        return rows[0][0] if rows else None

    def origin(self) -> Origin:
        """Return the source and the fork of the running copy. Call it only while a copy runs."""
        [[names]] = cast("list[list[str]]", self._sql.exec(q.SELECT_INCOMING, NAMES))
        return Origin(*json.loads(names))
