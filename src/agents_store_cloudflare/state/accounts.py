"""The statements for usage and budgets that go into the batch of a state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import LiteralString

from agents_store_cloudflare.contract.usage.budgets import Reservation
from agents_store_cloudflare.contract.usage.records import UsageEntry
from agents_store_cloudflare.database import SqlValue, Statement
from agents_store_cloudflare.state.deletion_sql import with_gone, with_tree
from agents_store_cloudflare.usage.budget_sql import settlement_of_turn
from agents_store_cloudflare.usage.deletion_sql import deletion_of
from agents_store_cloudflare.usage.options import UsageOptions
from agents_store_cloudflare.usage.prices import as_price_book
from agents_store_cloudflare.usage.recording import completed, usage_statements
from agents_store_cloudflare.usage.reserving import reserve_statements, settle_statement
from agents_store_cloudflare.usage.table_names import check_table_name, for_table

__all__ = ["DELETE_USAGE", "DELETE_USAGE_OF_GONE", "SETTLE_INTERRUPTED", "SETTLE_ORPHANED", "Accounts"]

# The parameters of `with_tree`: deletes the usage of a tree of sessions, and its share of the totals.
DELETE_USAGE: tuple[LiteralString, ...] = deletion_of(with_tree(""))

# ?1 session ids as JSON: deletes the usage of those that have no session.
DELETE_USAGE_OF_GONE: tuple[LiteralString, ...] = deletion_of(with_gone(""))

# ?1 session id, ?2 now. Settles the reservation of an open turn with the amount that its commits have spent. Primary keys.
SETTLE_INTERRUPTED: LiteralString = settlement_of_turn("""
      SELECT
        open_turn ->> '$.reservation[0]', open_turn ->> '$.reservation[1]', open_turn ->> '$.reservation[2]',
        open_turn ->> '$.reservation[3]', open_turn ->> '$.spent', ?2
      FROM __agents_states
      WHERE session_id = ?1
    """)

# ?1 scope, ?2 expires at, ?3 id, ?4 amount, ?5 actual, ?6 now, ?7 session id, ?8 fencing token. Settles the reservation of a turn unless
# the turn is the open one of its session: then the next turn settles it. Primary keys.
SETTLE_ORPHANED: LiteralString = settlement_of_turn("""
      SELECT ?1, ?2, ?3, ?4, ?5, ?6
      WHERE NOT EXISTS (SELECT 1 FROM __agents_states WHERE session_id = ?7 AND open_turn ->> '$.token' = ?8)
    """)


class Accounts:
    """The statements for usage and budgets that are kept in the same database as the sessions.

    Args:
        options: the table and the prices of the entries; None for the defaults.
        now_ms: the clock, in milliseconds since 1970.
    """

    def __init__(self, options: UsageOptions | None, now_ms: Callable[[], int]) -> None:
        self._options = options or UsageOptions()
        self._now_ms = now_ms

    def complete(self, entries: Sequence[UsageEntry | Mapping[str, object]]) -> list[UsageEntry]:
        """Return the entries with ids, times and prices. With their ids they count once, however often they are sent.

        Raises:
            TypeError: a field of an entry has a wrong type.
            InvalidArgumentError: an entry breaks a rule, which the message names.
        """
        book = self._options.price_book
        return completed(entries, self._now_ms, prices=None if book is None else as_price_book(book))

    def record(self, session_id: str, entries: Sequence[UsageEntry | Mapping[str, object]]) -> list[Statement]:
        """Return the statements that record entries of this session.

        Raises:
            TypeError: a field of an entry has a wrong type.
            InvalidArgumentError: an entry breaks a rule, or belongs to another session.
        """
        return usage_statements(session_id, entries, self._now_ms, self._options)

    def delete(self, tree: tuple[SqlValue, ...]) -> list[Statement]:
        """Return the statements that delete the usage of a tree of sessions.

        Args:
            tree: the parameters of the deletion. With them the SQL finds the tree.
        """
        table = check_table_name(self._options.table_name)
        return [Statement(for_table(sql, table), tree) for sql in DELETE_USAGE]

    def delete_of_gone(self, session_ids: str) -> list[Statement]:
        """Return the statements that delete the usage of ids that have no session.

        Args:
            session_ids: the ids as JSON. An id that has a session keeps its usage.
        """
        table = check_table_name(self._options.table_name)
        return [Statement(for_table(sql, table), (session_ids,)) for sql in DELETE_USAGE_OF_GONE]

    def reserve(self, reservation: Reservation, now_ms: int | None) -> list[Statement]:
        """Return the statements that take the reservation, as `reserve_statements` does."""
        return reserve_statements(reservation, now_ms)

    def settle(self, session_id: str, reservation: Reservation, actual: int, now_ms: int) -> list[Statement]:  # noqa: ARG002
        """Return the statements that settle the reservation. Sent several times, they settle it once."""
        return [settle_statement(reservation, actual, now_ms)]

    def settle_orphaned(
        self, session_id: str, token: int, reservation: Reservation, actual: int, now_ms: int
    ) -> list[Statement]:
        """Return the statements that settle the reservation of a turn that its session does not have as its open turn."""
        own = (reservation.scope, reservation.expires_at, reservation.id, reservation.amount)
        return [Statement(SETTLE_ORPHANED, (*own, actual, now_ms, session_id, token))]

    def settle_interrupted(self, session_id: str, now_ms: int) -> list[Statement]:
        """Return the statements that settle the reservation of the session's open turn with the amount that its commits have spent."""
        return [Statement(SETTLE_INTERRUPTED, (session_id, now_ms))]
