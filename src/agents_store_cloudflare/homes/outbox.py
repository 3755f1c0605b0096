"""Sends the waiting rows of a home's outbox to D1, in order and each once."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any, Final, LiteralString, cast

from agents_store_cloudflare.contract.usage.budgets import Reservation
from agents_store_cloudflare.contract.usage.records import UsageEntry
from agents_store_cloudflare.database import Database, SqlError, Statement, batch_with_retry
from agents_store_cloudflare.homes.accounts import COPY, DELETION, ENTRIES, SETTLEMENT
from agents_store_cloudflare.homes.tables import HomeTables
from agents_store_cloudflare.state.copied_accounts_sql import store_accounts
from agents_store_cloudflare.usage import settle_statement
from agents_store_cloudflare.usage.deletion_sql import DELETE_SESSION
from agents_store_cloudflare.usage.recording import Recording
from agents_store_cloudflare.usage.table_names import for_table

__all__ = ["Outbox"]

MOST_LETTERS: Final = 50
MOST_BYTES: Final = 4_000_000

# ?1 most rows -> (position, session id, kind, body), in order. Primary key.
_WAITING: LiteralString = """
    SELECT position, session_id, kind, body
    FROM __agents_outbox
    WHERE refused IS NULL
    ORDER BY position
    LIMIT ?1
"""

# ?1 the first and ?2 the last position
_SENT: LiteralString = """
    DELETE FROM __agents_outbox
    WHERE position BETWEEN ?1 AND ?2
      AND refused IS NULL
"""

# ?1 position, ?2 the reason of the refusal
_REFUSED: LiteralString = """
    UPDATE __agents_outbox
    SET refused = ?2
    WHERE position = ?1
"""


@dataclass(frozen=True, slots=True)
class _Letter:
    position: int
    session_id: str
    kind: str
    body: str


class Outbox:
    """The outbox of one home.

    Args:
        table: the usage table in D1.
        logger: gets the rows that D1 refuses for good.
    """

    def __init__(self, tables: HomeTables, table: str, logger: logging.Logger) -> None:
        self._tables = tables
        self._table = table
        self._logger = logger

    def is_due(self) -> bool:
        """Return whether rows wait."""
        return bool(self._waiting(1))

    async def send(self, database: Database, now_ms: int) -> None:
        """Send all rows that wait now to D1.

        Entries, settlements and deletions may be sent twice: D1 recognises entries and settlements by their ids, and a second
        deletion finds no rows. So rows are deleted here after the reply. A row that D1 refuses for good is set aside, and the other
        rows go on.

        Raises:
            SqlError: D1 could not be reached. The rows still wait.
        """
        while letters := self._waiting(MOST_LETTERS):
            try:
                await batch_with_retry(
                    database, [each for letter in letters for each in self._statements(letter, now_ms)]
                )
            except SqlError as error:
                if not error.is_refusal:
                    raise
                await self._one_by_one(database, letters, now_ms)
            else:
                self._tables.change(_SENT, letters[0].position, letters[-1].position)

    async def _one_by_one(self, database: Database, letters: list[_Letter], now_ms: int) -> None:
        for letter in letters:
            try:
                await batch_with_retry(database, self._statements(letter, now_ms))
            except SqlError as error:
                if error.guard is not None and error.guard["fault"] == "shown":  # a copy that D1 has already
                    self._tables.change(_SENT, letter.position, letter.position)
                    continue
                if not error.is_refusal:
                    raise
                self._logger.error(  # noqa: TRY400 - a refusal by D1 is no fault of this code
                    "D1 refuses the %s at position %d of session %r, which is set aside: %s",
                    letter.kind,
                    letter.position,
                    letter.session_id,
                    error,
                )
                self._tables.change(_REFUSED, letter.position, str(error)[:1000])
            else:
                self._tables.change(_SENT, letter.position, letter.position)

    def _waiting(self, most: int) -> list[_Letter]:
        letters: list[_Letter] = []
        size = 0
        for row in self._tables.query(_WAITING, most):
            letter = _Letter(*cast("list[Any]", row))
            size += len(letter.body)
            if letters and (size > MOST_BYTES or COPY in (letter.kind, letters[-1].kind)):
                break  # a copy goes alone, because a repetition of its batch is refused
            letters.append(letter)
        return letters

    def _statements(self, letter: _Letter, now_ms: int) -> list[Statement]:
        if letter.kind == ENTRIES:
            entries = [UsageEntry.from_dict(each) for each in json.loads(letter.body)]
            return Recording.of(entries).statements(now_ms, self._table)
        if letter.kind == SETTLEMENT:
            scope, expires_at, reservation_id, amount, actual, at_ms = json.loads(letter.body)
            reservation = Reservation(id=reservation_id, scope=scope, amount=amount, expires_at=expires_at)
            return [settle_statement(reservation, actual, at_ms)]
        if letter.kind == COPY:
            number, name, is_replaced = json.loads(letter.body)
            copied = store_accounts(letter.session_id, number, name, is_replaced=is_replaced)
            return [Statement(for_table(each.sql, self._table), each.parameters) for each in copied]
        assert letter.kind == DELETION  # noqa: S101 - accounts.py puts no other kinds there
        return [Statement(for_table(sql, self._table), (letter.session_id,)) for sql in DELETE_SESSION]
