"""The usage of sessions in homes: it becomes rows of the home's outbox in the transaction of the state, and goes to D1 from there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final, LiteralString

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.usage.budgets import Reservation
from agents_store_cloudflare.contract.usage.records import UsageEntry
from agents_store_cloudflare.database import SqlValue, Statement
from agents_store_cloudflare.state.accounts import Accounts
from agents_store_cloudflare.state.deletion_sql import with_gone, with_tree
from agents_store_cloudflare.usage.recording import Recording

__all__ = ["COPY", "DELETION", "ENTRIES", "SETTLEMENT", "OutboxAccounts", "letter_of_copy", "usage_that_waits"]

ENTRIES: Final = "entries"
SETTLEMENT: Final = "settlement"
DELETION: Final = "deletion"
COPY: Final = "copy"

# ?1 session id, ?2 kind, ?3 body
_PUT: LiteralString = """
    INSERT INTO __agents_outbox (session_id, kind, body)
    VALUES (?1, ?2, ?3)
"""

# ?1 session id, ?2 now: settles the reservation of the open turn with the amount that its commits have spent. Primary key.
_PUT_INTERRUPTED: LiteralString = """
    INSERT INTO __agents_outbox (session_id, kind, body)
    SELECT
      session_id,
      'settlement',
      json_array(
        open_turn ->> '$.reservation[0]', open_turn ->> '$.reservation[1]', open_turn ->> '$.reservation[2]',
        open_turn ->> '$.reservation[3]', open_turn ->> '$.spent', CAST(?2 AS INTEGER)
      )
    FROM __agents_states
    WHERE session_id = ?1
      AND open_turn ->> '$.reservation[0]' IS NOT NULL
"""

# The parameters of `with_tree`.
_PUT_DELETIONS: LiteralString = with_tree("""
    INSERT INTO __agents_outbox (session_id, kind, body)
    SELECT session_id, 'deletion', ''
    FROM tree
    WHERE session_no IS NOT NULL
      OR session_id <> ?1
""")

# ?1 session ids as JSON
_PUT_DELETIONS_OF_GONE: LiteralString = with_gone("""
    INSERT INTO __agents_outbox (session_id, kind, body)
    SELECT session_id, 'deletion', ''
    FROM tree
""")


# ?1 session id -> (whether usage of the session waits). Reads the rows that wait.
_HAS_WAITING: LiteralString = """
    SELECT EXISTS (
      SELECT 1
      FROM __agents_outbox
      WHERE session_id = ?1
        AND kind <> 'settlement'
        AND refused IS NULL
    ) AS waits
"""


class OutboxAccounts(Accounts):
    """The statements for usage and reservations of sessions in homes. The home sends them to D1 later, in order and each once.

    Prices, ids and times of entries are fixed when they are put into the outbox. A reservation is made in D1 before the batch.
    """

    def record(self, session_id: str, entries: Sequence[UsageEntry | Mapping[str, object]]) -> list[Statement]:
        """Return the statements that put the entries of one session into the outbox."""
        own = self.complete(entries)
        for entry in own:
            if entry.session_id != session_id:
                raise InvalidArgumentError(
                    f"usage has an entry of session {entry.session_id!r}, but the call saves session {session_id!r}"
                )
        if not own:
            return []
        Recording.of(own)  # raises the errors for entries that D1 would refuse
        return [Statement(_PUT, (session_id, ENTRIES, _text([entry.to_dict() for entry in own])))]

    def delete(self, tree: tuple[SqlValue, ...]) -> list[Statement]:
        """Return the statements that put the deletion of a tree's usage into the outbox."""
        return [Statement(_PUT_DELETIONS, tree)]

    def delete_of_gone(self, session_ids: str) -> list[Statement]:
        """Return the statement that puts the deletion of the usage of ids that have no session into the outbox."""
        return [Statement(_PUT_DELETIONS_OF_GONE, (session_ids,))]

    def reserve(self, reservation: Reservation, now_ms: int | None) -> list[Statement]:  # noqa: ARG002
        """Return no statement, because the reservation was made in D1 before."""
        return []

    def settle(self, session_id: str, reservation: Reservation, actual: int, now_ms: int) -> list[Statement]:
        """Return the statements that put a settlement into the outbox."""
        own = (reservation.scope, reservation.expires_at, reservation.id, reservation.amount)
        return [Statement(_PUT, (session_id, SETTLEMENT, _text([*own, actual, now_ms])))]

    def settle_interrupted(self, session_id: str, now_ms: int) -> list[Statement]:
        """Return the statements that put the settlement of an interrupted turn into the outbox."""
        return [Statement(_PUT_INTERRUPTED, (session_id, now_ms))]


def usage_that_waits(session_id: str) -> Statement:
    """Return the statement that tells whether usage of the session waits in the outbox."""
    return Statement(_HAS_WAITING, (session_id,))


def letter_of_copy(session_id: str, number: int, name: str, *, is_replaced: bool) -> Statement:
    """Return the statement that puts the usage of an imported session into the outbox.

    Args:
        number, name: the number in D1 of the staged rows, and the name of their claim.
        is_replaced: delete the session's usage before.
    """
    return Statement(_PUT, (session_id, COPY, _text([number, name, is_replaced])))


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
