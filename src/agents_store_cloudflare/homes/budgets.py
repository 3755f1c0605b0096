"""The reservation of a turn. It is made in D1 before the turn enters its home."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import LiteralString, cast

from agents_store_cloudflare.contract.errors import BudgetExceededError, UsageError
from agents_store_cloudflare.contract.usage.budgets import Reservation
from agents_store_cloudflare.database import Database, SqlError, Statement, batch_with_retry
from agents_store_cloudflare.usage import budget_sql, by_database_clock, reserve_statements, settle_statement

__all__ = ["HomeBudgets"]

# ?1 scope -> (unit). Primary key.
_UNIT: LiteralString = "SELECT unit FROM __agents_budgets\nWHERE scope = ?1"

_logger = logging.getLogger("agents_store_cloudflare.homes")


class HomeBudgets:
    """Reservations of turns, in D1."""

    def __init__(self, database: Database, now_ms: Callable[[], int]) -> None:
        self._database = database
        self._now_ms = now_ms

    async def reserve(self, reservation: Reservation, now_ms: int | None) -> tuple[Reservation, str]:
        """Make the reservation. Return it, corrected if the Worker's clock is wrong, and the unit of its budget.

        Args:
            now_ms: the Worker's time at which the reservation was made up; None after a correction.

        Raises:
            BudgetExceededError: the amount does not fit.
            UsageError: there is no such budget, or D1 failed.
        """
        unit = Statement(_UNIT, (reservation.scope,))
        try:
            results = await batch_with_retry(self._database, [*reserve_statements(reservation, now_ms), unit])
        except SqlError as error:
            if error.guard is None:
                raise UsageError(
                    f"the budget of scope {reservation.scope!r} could not be asked: {error}",
                    outcome_unknown=error.outcome_unknown,
                ) from error
            if error.guard["fault"] == "clock":
                return await self.reserve(by_database_clock(reservation, cast("int", now_ms), error.guard), None)
            if error.guard["fault"] == "budget":
                raise BudgetExceededError(reservation.scope, amount=reservation.amount) from None
            raise UsageError(f"scope {reservation.scope!r} has no budget; set_budget gives it one") from None
        return reservation, cast("str", results[-1][0][0])

    async def settle(self, reservation: Reservation, actual: int) -> None:
        """Settle the reservation. Repeated calls settle it once. If D1 cannot be reached, the reservation expires."""
        try:
            await batch_with_retry(self._database, [settle_statement(reservation, actual, self._now_ms())])
        except SqlError as error:
            _logger.warning(
                "the reservation %r of scope %r ends by its expiry: %s", reservation.id, reservation.scope, error
            )

    async def release(self, reservation: Reservation) -> None:
        """Give the reservation back. If D1 cannot be reached, the reservation expires."""
        own = (reservation.scope, reservation.expires_at, reservation.id)
        try:
            await batch_with_retry(self._database, [Statement(budget_sql.DELETE_RESERVATION, own)])
        except SqlError as error:
            _logger.warning(
                "the reservation %r of scope %r ends by its expiry: %s", reservation.id, reservation.scope, error
            )
