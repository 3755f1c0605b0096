"""Requests that are too large for one call. Such a request comes in parts, and runs when the last part has come."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final, LiteralString, cast

from agents_store_cloudflare.database import ObjectSql, SqlError, SqlValue
from agents_store_cloudflare.homes.wire import put_in

__all__ = ["Parts", "StoredStatements"]

ROW_CHARACTERS: Final = 450_000
"""The most characters of a row. A character has at most four bytes, so a row stays under 2,000,000 bytes."""

KEPT_MS: Final = 3_600_000

_MAKE: LiteralString = """
    CREATE TABLE IF NOT EXISTS __agents_parts (
      request TEXT NOT NULL,
      part INTEGER NOT NULL,
      place INTEGER NOT NULL,
      arrived_at INTEGER NOT NULL,
      body TEXT NOT NULL,
      PRIMARY KEY (request, part, place)
    ) WITHOUT ROWID
"""

# ?1 request, ?2 part, ?3 place within the part, ?4 now, ?5 text. A part that is sent twice is stored once.
_KEEP: LiteralString = """
    INSERT INTO __agents_parts (request, part, place, arrived_at, body)
    VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (request, part, place) DO NOTHING
"""

# ?1 request -> (number of parts, the last part)
_COUNT: LiteralString = "SELECT count(DISTINCT part) AS parts FROM __agents_parts\nWHERE request = ?1"

# ?1 request, ?2 part, ?3 place -> the next text. Primary key.
_NEXT: LiteralString = """
    SELECT part, place, body
    FROM __agents_parts
    WHERE request = ?1
      AND (part, place) > (?2, ?3)
    ORDER BY part, place
    LIMIT 1
"""

_DROP: LiteralString = "DELETE FROM __agents_parts\nWHERE request = ?1"

# ?1 time
_DROP_OLD: LiteralString = "DELETE FROM __agents_parts\nWHERE arrived_at <= ?1"

_IS_EMPTY: LiteralString = "SELECT NOT EXISTS (SELECT 1 FROM __agents_parts) AS is_empty"

_FIRST: LiteralString = "SELECT min(arrived_at) AS first FROM __agents_parts"

_EXISTS: LiteralString = "SELECT 1 FROM sqlite_master\nWHERE name = '__agents_parts'"


class StoredStatements:
    """The statements of a request that came in parts. They are read one by one, because together they may not fit into memory."""

    def __init__(self, sql: ObjectSql, request: str, numbers: Mapping[str, int]) -> None:
        self._sql = sql
        self._request = request
        self._numbers = numbers

    def __iter__(self) -> Iterator[tuple[str, tuple[SqlValue, ...]]]:
        for line in self._lines():
            sql, parameters = json.loads(line)
            yield sql, put_in(parameters, self._numbers)

    def _lines(self) -> Iterator[str]:
        begun, part, place = "", -1, -1
        while rows := self._sql.exec(_NEXT, self._request, part, place):
            part, place, body = cast("tuple[int, int, str]", tuple(rows[0]))
            *lines, begun = (begun + body).split("\n")
            yield from lines
        yield begun


class Parts:
    """The parts of requests that have not run yet."""

    def __init__(self, sql: ObjectSql) -> None:
        self._sql = sql

    def keep(self, request: str, part: int, text: str, now_ms: int) -> None:
        """Keep one part in rows of the allowed size."""

        def keep() -> None:
            self._sql.exec(_MAKE)
            for place, start in enumerate(range(0, len(text), ROW_CHARACTERS)):
                self._sql.exec(_KEEP, request, part, place, now_ms, text[start : start + ROW_CHARACTERS])

        self._sql.transaction(keep)

    def statements(self, request: str, parts: int, numbers: Mapping[str, int]) -> StoredStatements:
        """Return the statements of a request.

        Raises:
            SqlError: parts are missing. Nothing was changed.
        """
        found = self._sql.exec(_COUNT, request)[0][0] if self._is_there() else 0
        if found != parts:
            raise SqlError(f"{found} of {parts} parts of this request are there; send it again: SQLITE_ABORT")
        return StoredStatements(self._sql, request, numbers)

    def drop(self, request: str) -> None:
        """Forget a request, because it has run or was refused."""
        self._sql.exec(_DROP, request)

    def waits(self) -> int | None:
        """Return the next time at which unfinished requests must be deleted, an hour after they came."""
        if not self._is_there() or self._sql.exec(_IS_EMPTY) == [[1]]:
            return None
        [[first_ms]] = self._sql.exec(_FIRST)
        return cast("int", first_ms) + KEPT_MS

    def drop_old(self, now_ms: int) -> bool:
        """Forget requests that were not finished within an hour. Return whether other requests still wait."""
        if not self._is_there():
            return False
        self._sql.exec(_DROP_OLD, now_ms - KEPT_MS)
        if self._sql.exec(_IS_EMPTY) == [[0]]:
            return True
        self._sql.exec("DROP TABLE __agents_parts")
        return False

    def _is_there(self) -> bool:
        return bool(self._sql.exec(_EXISTS))
