"""The contract of a usage store, part three: budgets, reservations and settlements."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import timedelta
from typing import Protocol

from agents_store_cloudflare.contract.usage.budgets import Budget, Reservation, Settlement

__all__ = ["BudgetStore"]


class BudgetStore(Protocol):
    """The part of a `UsageStore` that keeps budgets."""

    async def set_budget(
        self, scope: str, cap: int, unit: str, *, parent: str | None = None, expected_cap: int | None = None
    ) -> Budget:
        """Give a scope a cap, or change its cap. Reserved and settled amounts stay.

        Args:
            scope: the name of the scope, such as a user or a project.
            cap: the most that may be taken, in `unit`.
            unit: what is counted, such as "tokens" or "micro_usd". All scopes of a tree have the same unit.
            parent: the scope around this one. It must have a budget already, and it cannot be changed later.
            expected_cap: change the cap only if it is this one; None changes any. A budget that has the new cap already is fine. Such a
                call writes one row more, by which its retry is recognised.

        Returns:
            The budget after the change.

        Raises:
            UsageError: `parent` has no budget.
            InvalidArgumentError: the unit or the parent differs from the stored one, the scopes nest more than eight deep, or there
                is another cap than the expected one.

        Cost: 1 D1 batch (3-6 rows read, 1 written).
        """
        ...

    async def get_budget(self, scope: str) -> Budget | None:
        """Return the budget of a scope with the amounts that were taken of it; None if the scope has no budget.

        Args:
            scope: the name of the scope.

        Cost: 1 D1 batch (2 rows read).
        """
        ...

    def reserve(
        self, scope: str, amount: int, *, ttl: float | timedelta | None = None, ttl_ms: float | None = None
    ) -> Awaitable[Reservation | None]:
        """Set an amount aside in a scope and in all scopes around it, if it fits under all their caps.

        However many callers there are, reservations never make the reserved and settled amounts pass a cap. Await the call for the
        reservation, or use it with `async with`: then a reservation that is not settled is given back at the end of the block.

        Args:
            scope: the name of the scope.
            amount: how much to set aside, in the unit of the scope.
            ttl: seconds (or a timedelta) after which an unsettled reservation is given back: at most a day, 10 minutes by default.
            ttl_ms: the same in milliseconds.

        Returns:
            The reservation, or None when it does not fit.

        Raises:
            BudgetExceededError: it does not fit, and the call is used with `async with`.
            UsageError: the scope has no budget.

        Cost: 1 D1 batch (7-20 rows read, 0-3 written).
        """
        ...

    async def settle(self, reservation: Reservation, actual: int) -> Settlement:
        """Record the amount that was really used, and give the rest of the reservation back.

        A reservation is settled once, also after it expired. An amount above the reservation is recorded in full and marked `overrun`;
        when it reaches a cap, nothing more can be reserved under that cap.

        Args:
            reservation: the reservation.
            actual: how much was used.

        Returns:
            The settlement; the first one when the call is repeated.

        Raises:
            InvalidArgumentError: the reservation was settled with another amount.
            UsageError: the scope has no budget.

        Cost: 1 D1 batch (22 rows read, 6 written).
        """
        ...

    async def release(self, reservation: Reservation) -> bool:
        """Give a reservation back without settling it.

        Args:
            reservation: the reservation.

        Returns:
            True when it was given back, also by an earlier call. False when it was settled, or its time was over.

        Cost: 1 D1 batch (12 rows read, 3 written).
        """
        ...

    async def delete_old_settlements(
        self, age: float | timedelta | None = None, *, age_ms: float | None = None, commit_id: str | None = None
    ) -> int:
        """Forget settlements that are older than an age by the database's clock. The budgets keep their sums.

        Only a repeated `settle` needs settlements.

        Args:
            age: seconds, or a timedelta.
            age_ms: the same in milliseconds.
            commit_id: as for `delete`.

        Returns:
            How many settlements were deleted.

        Cost: 2 D1 batches (3 rows read).
        """
        ...
