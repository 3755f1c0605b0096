"""Budgets: an amount is reserved before it is spent, so caps hold with any number of Workers."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import Any, cast

from agents_store_cloudflare.contract.arguments import check_id, check_whole_number, span_ms
from agents_store_cloudflare.contract.errors import BudgetExceededError, InvalidArgumentError, UsageError
from agents_store_cloudflare.contract.usage.budget_store import BudgetStore
from agents_store_cloudflare.contract.usage.budgets import Budget, Reservation, Settlement
from agents_store_cloudflare.database import Row, SqlError
from agents_store_cloudflare.database.finishing import Finishing
from agents_store_cloudflare.usage import budget_sql as sql
from agents_store_cloudflare.usage.batches import UsageBatches
from agents_store_cloudflare.usage.sql import COMMIT_GUARD, REMEMBER_COMMIT

__all__ = ["Budgets", "PendingReservation", "age_span_ms", "budget_of"]

MAX_SCOPES = 8
DEFAULT_TTL_S = 600.0
LONGEST_TTL_S = 86_400
LONGEST_AGE_S = 100 * 366 * 86_400


class PendingReservation:
    """The result of `reserve`: await it for the reservation or None, or use it with `async with`.

    `async with` raises `BudgetExceededError` when the amount does not fit. At the end of the block it gives an unsettled reservation
    back. One block at a time holds it: another one gets a `UsageError`.
    """

    def __init__(
        self,
        reserve: Callable[[], Coroutine[Any, Any, Reservation | None]],
        release: Callable[[Reservation], Awaitable[bool]],
        refusal: BudgetExceededError,
    ) -> None:
        self._reserve = reserve
        self._release = release
        self._refusal = refusal
        self._held: Reservation | None = None
        self._is_entered = False

    def __await__(self) -> Generator[Any, None, Reservation | None]:
        return self._reserve().__await__()

    async def __aenter__(self) -> Reservation:
        if self._is_entered:
            raise UsageError(
                f"a block holds this reservation of scope {self._refusal.scope!r} already; call reserve again"
            )
        self._is_entered = True
        try:
            self._held = await self._reserve()
        finally:
            self._is_entered = self._held is not None
        if self._held is None:
            raise self._refusal
        return self._held

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._held is None:
            return
        held, self._held, self._is_entered = self._held, None, False
        try:
            await self._release(held)
        except UsageError:
            if error is None:
                raise  # the block's own error is more important; the reservation expires by itself


class Budgets(BudgetStore):
    """`BudgetStore` on D1."""

    def __init__(self, batches: UsageBatches) -> None:
        self._batches = batches
        self._finishing = Finishing(asyncio.sleep)

    async def set_budget(
        self, scope: str, cap: int, unit: str, *, parent: str | None = None, expected_cap: int | None = None
    ) -> Budget:
        check_id(scope, "scope")
        check_whole_number(cap, "cap")
        check_id(unit, "unit")
        if parent is not None:
            check_id(parent, "parent")
        if expected_cap is not None:
            check_whole_number(expected_cap, "expected_cap")
        if parent == scope:
            raise InvalidArgumentError("parent is the scope itself")
        statement = self._batches.statement
        statements = [
            statement(sql.BUDGET_GUARD, scope, unit, parent, MAX_SCOPES, expected_cap, cap),
            statement(sql.UPSERT_BUDGET, scope, unit, parent, cap),
        ]
        if expected_cap is not None:
            # When this batch is sent again, others may have set the expected cap again. So the batch has a name.
            name = (uuid.uuid4().hex, "set_budget")
            named = statement(REMEMBER_COMMIT, *name, self._batches.now_ms())
            statements = [statement(COMMIT_GUARD, *name), *statements, named]
        try:
            *_, rows = await self._batches.run(*statements, statement(sql.SELECT_BUDGET, scope))
        except SqlError as error:
            if (error.guard or {}).get("fault") != "repeated":
                raise _fault(scope, error) from None
            [rows] = await self._batches.run_on_primary(statement(sql.SELECT_BUDGET, scope))
        return budget_of(rows[0])

    async def get_budget(self, scope: str) -> Budget | None:
        check_id(scope, "scope")
        [rows] = await self._batches.run_on_primary(self._batches.statement(sql.SELECT_BUDGET, scope))
        return budget_of(rows[0]) if rows else None

    def reserve(
        self, scope: str, amount: int, *, ttl: float | timedelta | None = None, ttl_ms: float | None = None
    ) -> PendingReservation:
        check_id(scope, "scope")
        check_whole_number(amount, "amount")
        span = span_ms(ttl, ttl_ms, "ttl", most_seconds=LONGEST_TTL_S)
        ttl_span_ms = round(DEFAULT_TTL_S * 1000) if span is None else span
        refusal = BudgetExceededError(scope, amount=amount)
        return PendingReservation(partial(self._reserve, scope, amount, ttl_span_ms), self._release_whole, refusal)

    async def _reserve(self, scope: str, amount: int, ttl_ms: int) -> Reservation | None:
        now_ms = self._batches.now_ms()
        wanted = Reservation(id=uuid.uuid4().hex, scope=scope, amount=amount, expires_at=now_ms + ttl_ms)
        reserving = self._finishing.start(self._reserve_as(wanted, now_ms))
        try:
            return await asyncio.shield(reserving)
        except asyncio.CancelledError:
            _ = self._finishing.start(self._give_back(reserving))
            raise

    async def _reserve_as(self, wanted: Reservation, now_ms: int | None) -> Reservation | None:
        """Send the reservation, again with the database's time if the Worker's time is wrong.

        Args:
            now_ms: the Worker's time; None when `wanted` was made by the database's time.
        """
        statement, own = self._batches.statement, (wanted.scope, wanted.expires_at, wanted.id)
        try:
            *_, rows = await self._batches.run(
                statement(sql.CLOCK_GUARD, *own, now_ms),
                statement(sql.DELETE_EXPIRED, wanted.scope),
                statement(sql.INSERT_RESERVATION, *own, wanted.amount),
                statement(sql.SELECT_RESERVED, *own),
            )
        except SqlError as error:
            from agents_store_cloudflare.usage.reserving import by_database_clock  # noqa: PLC0415 - few clocks are wrong

            return await self._reserve_as(by_database_clock(wanted, cast("int", now_ms), error.guard or {}), None)
        if not rows:
            raise _no_budget(wanted.scope)
        return wanted if rows[0][0] else None

    async def _give_back(self, reserving: asyncio.Task[Reservation | None]) -> None:
        """Release a reservation, because its cancelled caller does not get it.

        When the release fails, the reservation expires by itself.
        """
        with suppress(UsageError):
            reserved = await reserving
            if reserved is not None:
                await self.release(reserved)

    async def _release_whole(self, reservation: Reservation) -> bool:
        """Release the reservation. When the caller is cancelled meanwhile, the release goes on in the background."""
        return await asyncio.shield(self._finishing.start(self.release(reservation)))

    async def settle(self, reservation: Reservation, actual: int) -> Settlement:
        _check_reservation(reservation)
        check_whole_number(actual, "actual")
        statement = self._batches.statement
        insert = statement(
            sql.INSERT_SETTLEMENT,
            reservation.scope,
            reservation.expires_at,
            reservation.id,
            reservation.amount,
            actual,
            self._batches.now_ms(),
        )
        try:
            _, rows = await self._batches.run(insert, statement(sql.SELECT_SETTLED, reservation.id))
        except SqlError as error:
            raise InvalidArgumentError(
                f"actual is {actual:,}: the settled sum of scope {reservation.scope!r} or of a scope around it would pass 2^53 - 1"
            ) from error
        if not rows:
            raise _no_budget(reservation.scope)
        settlement = _settlement_of(rows[0])
        if settlement.actual != actual:
            raise InvalidArgumentError(
                f"actual is {actual:,}, reservation {reservation.id!r} was settled with {settlement.actual:,}"
            )
        return settlement

    async def release(self, reservation: Reservation) -> bool:
        _check_reservation(reservation)
        statement = self._batches.statement
        released, ended = await self._batches.run(
            statement(sql.DELETE_RESERVATION, reservation.scope, reservation.expires_at, reservation.id),
            statement(sql.SELECT_ENDED, reservation.id, reservation.expires_at),
        )
        # Without a row, it was settled, it has expired, or it was released before, perhaps by this call with a lost reply.
        return bool(released[0][0]) if released else not ended

    async def delete_old_settlements(
        self, age: float | timedelta | None = None, *, age_ms: float | None = None, commit_id: str | None = None
    ) -> int:
        span = age_span_ms(age, age_ms)
        statement, before_ms = self._batches.statement, await self._batches.time_before(span)
        return await self._batches.run_deletion(
            [statement(sql.DELETE_OLD_SETTLEMENTS, before_ms)],
            commit_id=commit_id,
            request=("delete_old_settlements", span),
            count=sql.COUNT_OLD_SETTLEMENTS,
            of=before_ms,
        )


def age_span_ms(age: float | timedelta | None, age_ms: float | None) -> int:
    """Return the age argument of a deletion in milliseconds.

    Raises:
        TypeError: the age is missing or was given twice.
        InvalidArgumentError: the age is negative, or so long that it was probably meant in another unit.
    """
    span = span_ms(age, age_ms, "age", most_seconds=LONGEST_AGE_S)
    if span is None:
        raise TypeError("give age (seconds) or age_ms (milliseconds)")
    return span


def _check_reservation(reservation: object) -> None:
    if not isinstance(reservation, Reservation):
        raise TypeError(f"reservation must be a Reservation, not {type(reservation).__name__}")
    check_id(reservation.id, "reservation.id")
    check_id(reservation.scope, "reservation.scope")
    check_whole_number(reservation.amount, "reservation.amount")
    check_whole_number(reservation.expires_at, "reservation.expires_at")


def _no_budget(scope: str) -> UsageError:
    return UsageError(f"scope {scope!r} has no budget; set_budget gives it one")


def _fault(scope: str, error: SqlError) -> UsageError | InvalidArgumentError:
    facts = error.guard or {}
    match facts["fault"]:
        case "no parent":
            return UsageError(f"the parent of scope {scope!r} has no budget; give it one with set_budget")
        case "depth":
            return InvalidArgumentError(
                f"scope {scope!r} would stand in {MAX_SCOPES} other scopes; at most {MAX_SCOPES - 1} are allowed"
            )
        case "cap":
            return InvalidArgumentError(f"scope {scope!r} has another cap than expected_cap by now; look again")
        case "parent":
            return InvalidArgumentError(f"the parent of scope {scope!r} cannot change")
        case fault:
            return InvalidArgumentError(
                f"the {fault} of scope {scope!r} is {facts['unit']!r}; all scopes of a tree have one unit"
            )


def budget_of(row: Row) -> Budget:
    """Return the budget of a row of `SELECT_BUDGET`.

    Raises:
        UsageError: another program has damaged the row.
    """
    scope, unit, cap, parent, reserved, settled, overruns = cast("list[Any]", row)
    try:
        return Budget(
            scope=_text(scope),
            cap=int(cap),
            unit=_text(unit),
            parent=None if parent is None else _text(parent),
            reserved=int(reserved),
            settled=int(settled),
            overruns=int(str(overruns)),  # a fraction is no count
        )
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"the row of the budget of scope {scope!r} cannot be read; `agents-store doctor` names its column"
        ) from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a {type(value).__name__} is no name")
    return value


def _settlement_of(row: Row) -> Settlement:
    reservation_id, scope, amount, actual, settled_at = cast("list[Any]", row)
    return Settlement(
        reservation_id=reservation_id,
        scope=scope,
        amount=amount,
        actual=actual,
        overrun=actual > amount,
        settled_at=settled_at,
    )
