"""Budgets on sqlite: what needs a clock that moves, and a database that fails."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from agents_store_cloudflare.contract.errors import InvalidArgumentError, UsageError
from agents_store_cloudflare.contract.usage.budgets import Budget, Reservation
from agents_store_cloudflare.database import Statement, retry
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.testing import FakeClock, FaultyDatabase, SqliteDatabase
from agents_store_cloudflare.usage import D1UsageStore
from tests.lengths import length

T = TypeVar("T")


@pytest.fixture
async def store(database: FaultyDatabase, clock: FakeClock) -> D1UsageStore:
    store = D1UsageStore(database, now_ms=clock.now_ms)
    await store.set_budget("tenant", 100, "tokens")
    await store.set_budget("session", 100, "tokens", parent="tenant")
    await store.set_budget("sibling", 100, "tokens", parent="tenant")
    return store


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def pause(attempt: int) -> None:
        assert attempt < retry.ATTEMPTS

    monkeypatch.setattr(retry, "pause_before_retry", pause)


async def _taken(store: D1UsageStore, scope: str) -> tuple[int, int]:
    budget = await store.get_budget(scope)
    assert budget is not None
    return budget.reserved, budget.settled


async def test_what_is_not_settled_expires(store: D1UsageStore, clock: FakeClock) -> None:
    """US-20: An expired reservation is given back in its whole chain, whichever scope asks next."""
    assert await store.reserve("session", 100, ttl=30) is not None
    await clock.advance(29)
    assert await store.reserve("sibling", 1) is None
    await clock.advance(1)
    assert await _taken(store, "tenant") == (0, 0)
    assert await store.reserve("sibling", 100) is not None
    assert await _taken(store, "session") == (0, 0)
    assert await _taken(store, "tenant") == (100, 0)


async def test_a_change_of_a_cap_that_comes_again_late(
    store: D1UsageStore, database: FaultyDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """US-18: Others set the expected cap again after a lost reply. The retry does not change the cap a second time."""

    async def others(_attempt: int) -> None:
        await store.set_budget("tenant", 100, "tokens", expected_cap=200)

    monkeypatch.setattr(retry, "pause_before_retry", others)
    database.fail("after")
    assert (await store.set_budget("tenant", 200, "tokens", expected_cap=100)).cap == 100
    database.fail("before")
    assert (await store.set_budget("tenant", 200, "tokens", expected_cap=100)).cap == 200


async def test_an_expired_reservation_that_nobody_has_deleted(store: D1UsageStore, clock: FakeClock) -> None:
    """US-20: The release of an expired reservation gives False also when its row is still there."""
    held = await store.reserve("session", 100, ttl=30)
    assert held is not None
    await clock.advance(30)
    assert [await store.release(held), await store.release(held)] == [False, False]
    assert await _taken(store, "tenant") == (0, 0)


async def test_settled_after_it_expired(store: D1UsageStore, clock: FakeClock) -> None:
    """US-18: The spent amount is recorded once, also after the reservation was given back."""
    held = await store.reserve("session", 60, ttl=30)
    assert held is not None
    await clock.advance(60)
    assert await store.reserve("sibling", 90) is not None
    first = await store.settle(held, 50)
    assert not first.overrun
    await clock.advance(1)
    assert await store.settle(held, 50) == first
    assert await _taken(store, "session") == (0, 50)
    assert await _taken(store, "tenant") == (90, 50)
    assert await store.reserve("session", 1) is None


async def test_old_settlements_go(store: D1UsageStore, clock: FakeClock) -> None:
    """US-18: Deleting old settlements leaves their sums."""
    for amount in (10, 20):
        held = await store.reserve("session", amount)
        assert held is not None
        await store.settle(held, amount)
        await clock.advance(60)
    assert await store.delete_old_settlements(90) == 1
    assert await store.delete_old_settlements(age_ms=0) == 1
    assert await _taken(store, "tenant") == (0, 30)
    with pytest.raises(TypeError, match="age"):
        await store.delete_old_settlements()


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("moments", [("before",), ("after",), ("after", "before", "after")], ids="-".join)
async def test_lost_replies(store: D1UsageStore, database: FaultyDatabase, moments: tuple[Any, ...]) -> None:
    """US-12, US-17, US-18: The store's own retries reserve once and settle once, even for the last of the budget."""
    database.fail(*moments)
    held = await store.reserve("session", 100)
    assert held is not None
    assert await _taken(store, "tenant") == (100, 0)
    database.fail(*moments)
    await store.settle(held, 70)
    assert await _taken(store, "tenant") == (0, 70)
    database.fail(*moments)
    await store.set_budget("session", 50, "tokens", parent="tenant")
    assert await store.get_budget("session") == Budget(
        scope="session", cap=50, unit="tokens", parent="tenant", settled=70
    )


async def test_one_call_is_one_batch(store: D1UsageStore, database: FaultyDatabase) -> None:
    """US-17: A reservation is one batch with one statement that writes it."""
    database.sent.clear()
    held = await store.reserve("session", 1)
    assert held is not None
    await store.settle(held, 1)
    assert database.sent == [4, 2]
    with pytest.raises(UsageError, match="set_budget"):
        await store.reserve("nowhere", 1)


SCOPES = {"tenant": None, "parent": "tenant", "child": "parent", "other": "tenant"}


class BudgetMachine(RuleBasedStateMachine):
    """The model: the open reservations, and the settled amounts of each scope."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = FakeClock()
        self.sqlite = SqliteDatabase(now_ms=self.clock.now_ms)
        self.run(run_migration(self.sqlite))
        self.database = FaultyDatabase(self.sqlite)
        self.store = D1UsageStore(self.database, now_ms=self.clock.now_ms)
        self.caps = {"tenant": 100, "parent": 80, "child": 60, "other": 90}
        for scope, parent in SCOPES.items():
            self.run(self.store.set_budget(scope, self.caps[scope], "tokens", parent=parent))
        self.held: list[Reservation] = []
        self.settled: dict[str, tuple[str, int]] = {}
        self.open: set[str] = set()

    def teardown(self) -> None:
        self.loop.close()

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(call)

    def reserved(self, scope: str) -> int:
        return sum(each.amount for each in self.held if self.is_open(each) and scope in _chain(each.scope))

    def spent(self, scope: str) -> int:
        return sum(actual for own, actual in self.settled.values() if scope in _chain(own))

    def is_open(self, held: Reservation) -> bool:
        return held.id in self.open and held.expires_at > self.clock.now_ms()

    @rule(
        scope=st.sampled_from(sorted(SCOPES)),
        amount=st.integers(0, 60),
        ttl=st.integers(1, 60),
        moments=st.lists(st.sampled_from(["before", "after"]), max_size=3),
    )
    def reserve(self, scope: str, amount: int, ttl: int, moments: list[Any]) -> None:
        fits = all(self.reserved(each) + self.spent(each) + amount <= self.caps[each] for each in _chain(scope))
        self.database.fail(*moments)
        held = self.run(_awaited(self.store, scope, amount, ttl))
        assert (held is not None) == fits
        if held is not None:
            self.held.append(held)
            self.open.add(held.id)

    @rule(
        which=st.integers(0, 50),
        actual=st.integers(0, 70),
        moments=st.lists(st.sampled_from(["before", "after"]), max_size=3),
    )
    def settle(self, which: int, actual: int, moments: list[Any]) -> None:
        if not self.held:
            return
        held = self.held[which % len(self.held)]
        actual = self.settled.get(held.id, ("", actual))[1]
        self.database.fail(*moments)
        settlement = self.run(self.store.settle(held, actual))
        assert (settlement.actual, settlement.overrun) == (actual, actual > held.amount)
        self.settled[held.id] = (held.scope, actual)
        self.open.discard(held.id)

    @rule(which=st.integers(0, 50))
    def release(self, which: int) -> None:
        if not self.held:
            return
        held = self.held[which % len(self.held)]
        if self.is_open(held):
            assert self.run(self.store.release(held))
        else:
            self.run(self.store.release(held))
        self.open.discard(held.id)

    @rule(seconds=st.integers(1, 40))
    def wait(self, seconds: int) -> None:
        self.clock.set(self.clock.now_ms() + seconds * 1000)

    @rule(scope=st.sampled_from(sorted(SCOPES)), cap=st.integers(0, 120))
    def change(self, scope: str, cap: int) -> None:
        self.run(self.store.set_budget(scope, cap, "tokens", parent=SCOPES[scope]))
        self.caps[scope] = cap

    @invariant()
    def every_budget_says_what_was_taken(self) -> None:
        for scope in SCOPES:
            budget = self.run(self.store.get_budget(scope))
            assert budget is not None
            assert (budget.reserved, budget.settled) == (self.reserved(scope), self.spent(scope))

    @invariant()
    def no_reservation_is_left_behind(self) -> None:
        statement = Statement("SELECT id FROM __agents_reservations WHERE expires_at > ?1", (self.clock.now_ms(),))
        [rows] = self.run(self.sqlite.batch([statement]))
        assert {row[0] for row in rows} == {each.id for each in self.held if self.is_open(each)}


def _chain(scope: str) -> list[str]:
    parent = SCOPES[scope]
    return [scope, *(_chain(parent) if parent else [])]


async def _awaited(store: D1UsageStore, scope: str, amount: int, ttl: int) -> Reservation | None:
    return await store.reserve(scope, amount, ttl=ttl)


@pytest.mark.usefixtures("no_pauses")
def test_budgets_keep_their_books() -> None:
    """US-17, US-18, US-19, US-20: The books agree after any order of calls, retries, waits and changes of caps."""
    run_state_machine_as_test(
        BudgetMachine, settings=settings(max_examples=length(40, 1_000), stateful_step_count=30, deadline=None)
    )


async def test_a_sum_ends_at_the_largest_exact_number(store: D1UsageStore) -> None:
    """US-17, US-18: A settlement whose sum would pass 2^53 - 1 is refused. The budget stays exact and readable."""
    most = 2**53 - 1
    for number, actual in enumerate((most - 1, 1)):
        await store.settle(Reservation(id=f"r{number}", scope="sibling", amount=0, expires_at=2**50), actual)
    for scope in ("session", "sibling", "tenant"):
        with pytest.raises(InvalidArgumentError, match="2\\^53"):
            await store.settle(Reservation(id=f"r-{scope}", scope=scope, amount=0, expires_at=2**50), 1)
    assert [await _taken(store, scope) for scope in ("tenant", "sibling", "session")] == [(0, most), (0, most), (0, 0)]
