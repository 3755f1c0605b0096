"""The conformance tests of a `UsageStore` for budgets. Subclass `UsageBudgetConformance`, and give it a `usage_store`.

Each test names the clauses of docs/guarantees.md that it proves.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from agents_store_cloudflare.contract.errors import BudgetExceededError, InvalidArgumentError, UsageError
from agents_store_cloudflare.contract.usage.budgets import Budget, Reservation
from agents_store_cloudflare.testing.conformance.fixtures import UsageFixtures
from agents_store_cloudflare.usage import D1UsageStore

__all__ = ["UsageBudgetConformance"]


async def _granted(store: D1UsageStore, scope: str, amount: int, **fields: Any) -> Reservation:
    reservation = await store.reserve(scope, amount, **fields)
    assert reservation is not None
    return reservation


class UsageBudgetConformance(UsageFixtures):
    """The contract of `UsageStore` for budgets, clause by clause."""

    async def test_reserve_and_settle(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-17, US-18: An amount that fits is reserved, otherwise the result is None. A settlement gives the rest back."""
        assert await usage_store.get_budget(unique) is None
        assert await usage_store.set_budget(unique, 100, "tokens") == Budget(scope=unique, cap=100, unit="tokens")
        first = await _granted(usage_store, unique, 60)
        assert await usage_store.reserve(unique, 41) is None
        second = await _granted(usage_store, unique, 40)
        settlement = await usage_store.settle(first, 25)
        assert (settlement.reservation_id, settlement.amount, settlement.actual, settlement.overrun) == (
            first.id,
            60,
            25,
            False,
        )
        budget = await usage_store.get_budget(unique)
        assert budget is not None
        assert budget == Budget(scope=unique, cap=100, unit="tokens", reserved=40, settled=25)
        assert budget.remaining == 35
        assert await usage_store.release(second)
        assert await usage_store.release(second), "as the first time: its reply may have been lost"
        assert await usage_store.get_budget(unique) == replace(budget, reserved=0)

    async def test_one_block_holds_a_reservation(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-20: A second block of the same `reserve` is refused while the first holds it, and nothing stays reserved."""
        await usage_store.set_budget(unique, 100, "tokens")
        pending = usage_store.reserve(unique, 40)
        async with pending as first:
            with pytest.raises(UsageError, match="reserve again"):
                await pending.__aenter__()
            budget = await usage_store.get_budget(unique)
            assert budget is not None
            assert budget.reserved == 40
        async with pending as second:
            assert second.id != first.id
        budget = await usage_store.get_budget(unique)
        assert budget is not None
        assert budget.reserved == 0

    async def test_an_expired_reservation_is_not_released(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-20: By the database's clock its time is over, so `release` gives False, though nobody has noticed that yet."""
        await usage_store.set_budget(unique, 100, "tokens")
        held = await _granted(usage_store, unique, 40, ttl_ms=1)
        await asyncio.sleep(0.05)
        assert [await usage_store.release(held) for _ in range(2)] == [False, False]
        assert await usage_store.get_budget(unique) == Budget(scope=unique, cap=100, unit="tokens")

    async def test_a_settlement_counts_once(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-18: A repeated settlement changes nothing, also after a release. Another amount is refused."""
        await usage_store.set_budget(unique, 100, "tokens")
        held = await _granted(usage_store, unique, 50)
        settlements = await asyncio.gather(*(usage_store.settle(held, 30) for _ in range(8)))
        assert len(set(settlements)) == 1
        with pytest.raises(InvalidArgumentError, match="settled with 30"):
            await usage_store.settle(held, 31)
        assert not await usage_store.release(held)
        assert await usage_store.get_budget(unique) == Budget(scope=unique, cap=100, unit="tokens", settled=30)

    async def test_an_overrun_is_recorded(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-18: An amount above the reservation is recorded and marked. Over the cap nothing is granted until the cap is raised."""
        await usage_store.set_budget(unique, 100, "tokens")
        held = await _granted(usage_store, unique, 90)
        assert (await usage_store.settle(held, 130)).overrun
        assert await usage_store.get_budget(unique) == Budget(
            scope=unique, cap=100, unit="tokens", settled=130, overruns=1
        )
        assert await usage_store.reserve(unique, 1) is None
        assert await usage_store.reserve(unique, 0) is None
        assert (await usage_store.set_budget(unique, 140, "tokens")).remaining == 10
        assert await usage_store.reserve(unique, 10) is not None

    async def test_a_cap_that_others_have_changed(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-18: With `expected_cap` only that cap is changed. The same change again is no conflict."""
        with pytest.raises(InvalidArgumentError, match="expected_cap"):
            await usage_store.set_budget(unique, 100, "tokens", expected_cap=50)
        assert await usage_store.get_budget(unique) is None
        await usage_store.set_budget(unique, 100, "tokens")
        for _ in range(2):
            assert (await usage_store.set_budget(unique, 200, "tokens", expected_cap=100)).cap == 200
        with pytest.raises(InvalidArgumentError, match="expected_cap"):
            await usage_store.set_budget(unique, 150, "tokens", expected_cap=100)
        assert await usage_store.get_budget(unique) == Budget(scope=unique, cap=200, unit="tokens")

    async def test_scopes_nest(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-19: A reservation must fit under every cap around it, and is counted in all of these scopes or in none."""
        tenant, parent, child, other = (f"{unique}-{name}" for name in ("tenant", "parent", "child", "other"))
        await usage_store.set_budget(tenant, 100, "tokens")
        await usage_store.set_budget(parent, 80, "tokens", parent=tenant)
        await usage_store.set_budget(child, 1_000, "tokens", parent=parent)
        await usage_store.set_budget(other, 1_000, "tokens", parent=tenant)
        held = await _granted(usage_store, child, 70)
        assert await usage_store.reserve(child, 11) is None
        assert await usage_store.reserve(other, 31) is None
        assert await usage_store.reserve(other, 30) is not None
        await usage_store.settle(held, 75)
        taken = [await usage_store.get_budget(scope) for scope in (tenant, parent, child, other)]
        assert [(each.reserved, each.settled, each.overruns) for each in taken if each] == [
            (30, 75, 1),
            (0, 75, 1),
            (0, 75, 1),
            (30, 0, 0),
        ]

    async def test_many_at_once(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-17: Of 200 concurrent reservations under a cap for 50 exactly 50 succeed, and no read sees the cap exceeded."""
        await usage_store.set_budget(unique, 500, "tokens")

        async def read() -> int:
            budget = await usage_store.get_budget(unique)
            assert budget is not None
            return budget.reserved + budget.settled

        answers = await asyncio.gather(*(self._spend(usage_store, unique, settle=n % 3 == 0) for n in range(200)))
        reads = await asyncio.gather(*(read() for _ in range(5)))
        assert sum(answer is not None for answer in answers) == 50
        assert len({answer.id for answer in answers if answer}) == 50
        assert reads == [500] * 5

    async def _spend(self, store: D1UsageStore, scope: str, *, settle: bool) -> Reservation | None:
        held = await store.reserve(scope, 10)
        if held is not None and settle:
            await store.settle(held, 10)
        budget = await store.get_budget(scope)
        assert budget is not None
        assert budget.reserved + budget.settled <= budget.cap
        return held

    async def test_async_with(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-20: `async with` gives an unsettled reservation back, and raises when the amount does not fit."""
        await usage_store.set_budget(unique, 100, "tokens")
        async with usage_store.reserve(unique, 100) as held:
            with pytest.raises(BudgetExceededError) as raised:
                async with usage_store.reserve(unique, 1):
                    pytest.fail("there was nothing left")
            await usage_store.settle(held, 20)
        assert (raised.value.scope, raised.value.amount) == (unique, 1)
        with pytest.raises(KeyError):
            async with usage_store.reserve(unique, 80):
                raise KeyError
        assert await usage_store.get_budget(unique) == Budget(scope=unique, cap=100, unit="tokens", settled=20)

    async def test_rules(self, usage_store: D1UsageStore, unique: str) -> None:
        """US-10, US-19: Budgets that do not fit together, numbers that are not whole and scopes without a budget are refused by name."""
        await usage_store.set_budget(unique, 100, "tokens")
        await usage_store.set_budget(f"{unique}-1", 100, "tokens", parent=unique)
        for depth in range(2, 8):
            await usage_store.set_budget(f"{unique}-{depth}", 100, "tokens", parent=f"{unique}-{depth - 1}")
        held = await _granted(usage_store, unique, 1)
        for call, word in (
            (lambda: usage_store.set_budget(unique, 100, "micro_usd"), "unit"),
            (lambda: usage_store.set_budget(f"{unique}-9", 1, "micro_usd", parent=unique), "unit"),
            (lambda: usage_store.set_budget(f"{unique}-1", 100, "tokens"), "parent"),
            (lambda: usage_store.set_budget(f"{unique}-9", 1, "tokens", parent=f"{unique}-none"), "parent"),
            (lambda: usage_store.set_budget(f"{unique}-9", 1, "tokens", parent=f"{unique}-7"), "other scopes"),
            (lambda: usage_store.set_budget(unique, 1, "tokens", parent=unique), "parent"),
            (lambda: usage_store.set_budget(unique, 1.5, "tokens"), "cap"),  # type: ignore[arg-type]
            (lambda: usage_store.set_budget(unique, -1, "tokens"), "cap"),
            (lambda: usage_store.set_budget("", 1, "tokens"), "scope"),
            (lambda: usage_store.reserve(unique, -1), "amount"),
            (lambda: usage_store.reserve(unique, 0.5), "amount"),  # type: ignore[arg-type]
            (lambda: usage_store.reserve(unique, 1, ttl=1, ttl_ms=1), "ttl"),
            (lambda: usage_store.reserve(unique, 1, ttl=90_000), "ttl"),
            (lambda: usage_store.reserve(f"{unique}-none", 1), "set_budget"),
            (lambda: usage_store.settle(replace(held, scope=f"{unique}-none"), 1), "set_budget"),
            (lambda: usage_store.settle(held, -1), "actual"),
            (lambda: usage_store.settle(None, 1), "reservation"),  # type: ignore[arg-type]
        ):
            with pytest.raises((InvalidArgumentError, TypeError, UsageError), match=word):
                await call()
        assert await usage_store.get_budget(unique) == Budget(scope=unique, cap=100, unit="tokens", reserved=1)
        assert await usage_store.get_budget(f"{unique}-9") is None
