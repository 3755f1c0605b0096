"""A reservation as part of another store's batch: one batch makes it, and another settles it once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, LiteralString

from agents_store_cloudflare.contract.usage.budgets import Reservation
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.usage import budget_sql

__all__ = ["by_database_clock", "reserve_statements", "settle_statement"]

# ?1 scope, ?2 expires at, ?3 id, ?4 amount, ?5 actual, ?6 now
SETTLE: LiteralString = budget_sql.settlement_of_turn("SELECT ?1, ?2, ?3, ?4, ?5, ?6")

# ?1 scope, ?2 expires at, ?3 id: aborts the batch unless the reservation was made by the statements before. Primary keys.
RESERVED: LiteralString = """
    SELECT
      CASE WHEN r.id IS NULL THEN json_extract('{}', 'agents-store ' || json_object(
        'fault', CASE WHEN own.scope IS NULL THEN 'no_budget' ELSE 'budget' END
      )) END AS verdict
    FROM (SELECT ?1 AS scope) AS wanted
    LEFT JOIN __agents_budgets AS own ON own.scope = wanted.scope
    LEFT JOIN __agents_reservations AS r ON r.root = own.root AND r.expires_at = ?2 AND r.id = ?3
"""


def reserve_statements(reservation: Reservation, now_ms: int | None) -> list[Statement]:
    """Return the statements that make the reservation.

    They abort the batch with the fault "budget", "no_budget", or "clock" when the Worker's clock is wrong: `by_database_clock` corrects
    the reservation.

    Args:
        now_ms: the Worker's time at which the reservation was made up; None after a correction.
    """
    own = (reservation.scope, reservation.expires_at, reservation.id)
    return [
        Statement(budget_sql.CLOCK_GUARD, (*own, now_ms)),
        Statement(budget_sql.DELETE_EXPIRED, (reservation.scope,)),
        Statement(budget_sql.INSERT_RESERVATION, (*own, reservation.amount)),
        Statement(RESERVED, own),
    ]


def by_database_clock(reservation: Reservation, now_ms: int, facts: Mapping[str, Any]) -> Reservation:
    """Return the reservation with the same time to live, counted by the database's clock.

    Args:
        now_ms: the Worker's time at which the reservation was made up.
        facts: the facts of the fault "clock".
    """
    return replace(reservation, expires_at=facts["now"] + reservation.expires_at - now_ms)


def settle_statement(reservation: Reservation, actual: int, now_ms: int) -> Statement:
    """Return the statement that settles the reservation of a turn, once, however often it is sent. It refuses no batch."""
    own = (reservation.scope, reservation.expires_at, reservation.id, reservation.amount)
    return Statement(SETTLE, (*own, actual, now_ms))
