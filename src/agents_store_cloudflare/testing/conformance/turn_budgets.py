"""The conformance tests of a turn's budget: every end of a turn settles the reservation with the spent amount."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext

import pytest

from agents_store_cloudflare.contract.errors import LockLostError, StaleFencingTokenError, StateNotFoundError
from agents_store_cloudflare.store import CloudflareStore
from agents_store_cloudflare.testing.conformance.fixtures import StoreFixtures
from agents_store_cloudflare.testing.conformance.turn_fixtures import begin, die, enter

__all__ = ["TurnBudgetConformance"]

MOST = 2**53 - 1


class TurnBudgetConformance(StoreFixtures):
    """The contract of turns with budgets."""

    @pytest.mark.parametrize("ends_by", ["its end", "an exception", "a death"])
    async def test_more_than_a_scope_can_count(self, store: CloudflareStore, unique: str, ends_by: str) -> None:
        """TU-3, US-17: If the settled sum has no room, the turn still ends, keeps its usage, and fills the scope."""
        usage, org = store.usage_store, f"{unique}-org"
        await usage.set_budget(org, MOST, "tokens")
        await usage.set_budget(unique, MOST, "tokens", parent=org)
        earlier = await usage.reserve(org, 1)
        assert earlier is not None
        await usage.settle(earlier, MOST - 10)
        await _take_a_turn(store, unique, ends_by)
        for scope, settled in ((unique, 10), (org, MOST)):
            budget = await usage.get_budget(scope)
            assert budget is not None
            assert (budget.reserved, budget.settled) == (0, settled)
        assert (await usage.get_rollup(unique)).tokens.total == 100
        assert await usage.reserve(unique, 1) is None

    @pytest.mark.parametrize("then", ["gone", "made anew", "in another turn"])
    async def test_a_session_that_goes_after_the_lock(self, store: CloudflareStore, unique: str, then: str) -> None:
        """TU-3, TU-7: A holder that has lost its lock and its session settles its reservation."""
        await store.usage_store.set_budget(unique, 100, "tokens")
        block = begin(store, unique, budget=(unique, 60), auto_refresh=False)
        turn = await asyncio.create_task(block.__aenter__())
        turn.record_tokens(model="m", prompt=7)
        await turn.lock.release()  # as if its ttl had run out
        await store.delete_session(unique)
        if then == "made anew":
            lock = await store.locks.acquire(unique)
            assert lock is not None
            await store.state_store.create_session(unique, agent_type="a", fencing_token=lock)
            await lock.release()
        elif then == "in another turn":
            await asyncio.create_task(enter(begin(store, unique), leave=True))
        with pytest.raises((LockLostError, StaleFencingTokenError, StateNotFoundError)):
            await block.__aexit__(None, None, None)
        budget = await store.usage_store.get_budget(unique)
        assert budget is not None
        assert (budget.reserved, budget.settled) == (0, 7)
        assert await store.usage_store.get_entry_count(unique) == 0

    async def test_a_late_holder_settles_nothing_twice(self, store: CloudflareStore, unique: str) -> None:
        """TU-7: If the next turn has closed the turn of a lost holder, the settlement of the next turn stays."""
        await store.usage_store.set_budget(unique, 100, "tokens")
        block = begin(store, unique, budget=(unique, 60), auto_refresh=False)
        turn = await asyncio.create_task(block.__aenter__())
        turn.record_tokens(model="m", prompt=7)
        await turn.commit()
        turn.record_tokens(model="m", prompt=9)
        await turn.lock.release()  # as if its ttl had run out
        await asyncio.create_task(enter(begin(store, unique), leave=True))
        with pytest.raises((LockLostError, StaleFencingTokenError)):
            await block.__aexit__(None, None, None)
        budget = await store.usage_store.get_budget(unique)
        assert budget is not None
        assert (budget.reserved, budget.settled) == (0, 7)


async def _take_a_turn(store: CloudflareStore, unique: str, ends_by: str) -> None:
    """Take a turn that reserves 5 and spends 100."""
    budget = (unique, 5)
    if ends_by == "a death":
        await die(store, unique, budget=budget, records=100)
        await asyncio.create_task(enter(begin(store, unique), leave=True))
        return
    with pytest.raises(ZeroDivisionError) if ends_by == "an exception" else nullcontext():
        async with begin(store, unique, budget=budget) as turn:
            turn.record_tokens(model="m", prompt=100)
            if ends_by == "an exception":
                raise ZeroDivisionError
