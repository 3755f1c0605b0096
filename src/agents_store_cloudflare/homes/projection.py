"""Sends a home's sessions to the directory. Each sending has a higher edition.

A change needs no row of its own: the sessions are compared with the rows that were sent last (`__agents_projected`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, LiteralString, cast

from agents_store_cloudflare.database import Database, ObjectSql, Row, Statement, batch_with_retry
from agents_store_cloudflare.homes import directory_sql
from agents_store_cloudflare.homes.tables import HomeTables

__all__ = ["Projection"]

EDITION: Final = "edition_v1"
PROJECTED: Final = "__agents_projected"
MOST_ROWS: Final = 500
TOMBSTONE_MS: Final = 86_400_000

# ?1 most rows -> (session id, deleted, version, epoch, agent type, status, step count, message count, parent, root, created at,
# updated at, expires at, turn since) of the sessions that have changed since they were sent. Deleted sessions have zeros and ''.
_DIRTY: LiteralString = """
    SELECT
      s.session_id, 0 AS deleted, s.version, s.history_epoch, s.agent_type, s.status, s.step_count, s.message_count,
      s.parent_session_id, s.root_session_id, s.created_at, s.updated_at, s.expires_at, s.turn_since
    FROM __agents_states AS s
    LEFT JOIN __agents_projected AS p ON p.session_id = s.session_id
    WHERE p.version IS NOT s.version
      OR p.history_epoch IS NOT s.history_epoch
      OR p.turn_since IS NOT s.turn_since
    UNION ALL
    SELECT p.session_id, 1, 0, 0, '', '', 0, 0, NULL, NULL, p.created_at, p.created_at, NULL, NULL
    FROM __agents_projected AS p
    LEFT JOIN __agents_states AS s ON s.session_id = p.session_id
    WHERE s.session_id IS NULL
    LIMIT ?1
"""

# ?1 session id, ?2 version, ?3 epoch, ?4 created at, ?5 the time since which a turn is open or a closing chunk is missing
_KEEP: LiteralString = """
    INSERT INTO __agents_projected (session_id, version, history_epoch, created_at, turn_since)
    VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT (session_id) DO UPDATE SET
      version = excluded.version,
      history_epoch = excluded.history_epoch,
      created_at = excluded.created_at,
      turn_since = excluded.turn_since
"""

# ?1 session id, ?2 created at: notes that the directory may get this session from now on. Changes nothing if it was noted before.
_BEGIN: LiteralString = """
    INSERT INTO __agents_projected (session_id, version, history_epoch, created_at)
    VALUES (?1, -1, 0, ?2)
    ON CONFLICT (session_id) DO NOTHING
"""

_FORGET: LiteralString = "DELETE FROM __agents_projected\nWHERE session_id = ?1"

_FORGET_ALL: LiteralString = "UPDATE __agents_projected\nSET version = -1"


@dataclass(frozen=True, slots=True)
class _Dirty:
    """A session that the directory must get."""

    session_id: str
    is_deleted: bool
    version: int
    epoch: int
    listed: list[Any]
    created_at: int


class Projection:
    """Sends the sessions of one home to the directory."""

    def __init__(self, sql: ObjectSql, tables: HomeTables) -> None:
        self._sql = sql
        self._tables = tables

    def is_due(self) -> bool:
        """Return whether a session has changed since it was sent."""
        return self._tables.record() is not None and bool(self._dirty(1))

    def again(self) -> None:
        """Note that every session must be sent again, because the directory's rows may have been lost."""
        self._tables.change(_FORGET_ALL)

    async def send(self, database: Database, now_ms: int) -> None:
        """Send the directory the changes that it does not have yet.

        Raises:
            SqlError: the directory could not be reached. The changes are still to be sent.
        """
        while dirty := self._dirty(MOST_ROWS):
            edition = self._tables.transaction(partial(self._begin, dirty, now_ms))
            later = await self._sent(database, dirty, edition, now_ms)
            if later is not None:
                # The clock was set back, or the object was restored to an earlier day.
                self._sql.put_text(EDITION, str(later))
                continue
            self._keep(dirty)
            if len(dirty) < MOST_ROWS:
                return  # later changes have set an alarm of their own

    def _dirty(self, most: int) -> list[_Dirty]:
        return [_dirty(row) for row in self._tables.query(_DIRTY, most)]

    def _begin(self, dirty: list[_Dirty], now_ms: int) -> int:
        """Return the edition of this sending. It is stored first, so that later editions are higher, even if this object dies.

        The names of the sessions are stored first too. A session that is deleted before D1 answers is then sent as deleted, because
        the first sending may still arrive.
        """
        for each in dirty:
            if not each.is_deleted:
                self._tables.change(_BEGIN, each.session_id, each.created_at)
        text = self._sql.get_text(EDITION)
        edition = max(now_ms, 0 if text is None else int(text) + 1)
        self._sql.put_text(EDITION, str(edition))
        return edition

    async def _sent(self, database: Database, dirty: list[_Dirty], edition: int, now_ms: int) -> int | None:
        record = self._tables.record()
        home = "" if record is None else record.home
        ordered = sorted(dirty, key=lambda each: each.created_at)
        rows = [[each.session_id, home, edition, *each.listed] for each in ordered]
        given = (json.dumps(rows, ensure_ascii=False, separators=(",", ":")),)
        purge = [Statement(directory_sql.PURGE, (now_ms - TOMBSTONE_MS,))] if any(d.is_deleted for d in dirty) else []
        results = await batch_with_retry(
            database,
            [
                Statement(directory_sql.MAKE_ROOM, given),
                Statement(directory_sql.PROJECT, given),
                *purge,
                Statement(directory_sql.LATER_EDITION, given),
            ],
        )
        return cast("int | None", results[-1][0][0])

    def _keep(self, sent: list[_Dirty]) -> None:
        def keep() -> None:
            for each in sent:
                if each.is_deleted:
                    self._tables.change(_FORGET, each.session_id)
                else:
                    kept = (each.session_id, each.version, each.epoch, each.created_at, each.listed[-1])
                    self._tables.change(_KEEP, *kept)

        self._tables.transaction(keep)


def _dirty(row: Row) -> _Dirty:
    session_id, deleted, version, epoch, *listed = cast("list[Any]", row)
    return _Dirty(
        session_id=session_id,
        is_deleted=bool(deleted),
        version=version,
        epoch=epoch,
        listed=[deleted, version, *listed],
        created_at=listed[6],
    )
