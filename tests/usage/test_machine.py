"""Totals against plain sums: any order of records, repetitions, corrections, deletions and rebuilds, with the database failing at will."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from agents_store_cloudflare.contract.errors import UsageError
from agents_store_cloudflare.contract.usage.records import TokenCounts, UsageEntry, UsageSource
from agents_store_cloudflare.database import retry
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.testing import FakeClock, FaultyDatabase, SqliteDatabase
from agents_store_cloudflare.testing.conformance.usage_totals import sum_of
from agents_store_cloudflare.usage import D1UsageStore
from tests.lengths import length

T = TypeVar("T")

SESSIONS = ("a", "b", "c")
DAY_MS = 86_400_000
NOW_MS = 10 * DAY_MS

numbers = st.one_of(
    st.integers(-(2**70), 2**70),
    st.integers(-5, 5),
    st.floats(-1e300, 1e300),
    st.sampled_from([0.1, 1e-300, -0.0, 5e-324]),
)
counts = st.one_of(st.integers(0, 100), st.integers(0, 2**53 - 1))
costs = st.one_of(st.none(), st.integers(0, 2**40))
faults = st.lists(st.sampled_from(["before", "after"]), max_size=retry.ATTEMPTS)
ages_ms = st.integers(0, 4).map(lambda days: days * DAY_MS + DAY_MS // 3)


@st.composite
def entries(draw: st.DrawFn) -> UsageEntry:
    corrects = draw(st.one_of(st.none(), st.none(), st.just("some")))
    sign = -1 if corrects and draw(st.booleans()) else 1
    fields: dict[str, Any] = {
        "id": f"e{draw(st.integers(0, 15))}",
        "session_id": draw(st.sampled_from(SESSIONS)),
        "source": UsageSource(type=draw(st.sampled_from(["agent", "tool"])), name="x"),
        "timestamp": NOW_MS - draw(st.integers(0, 40)) * (DAY_MS // 8),
        "corrects": corrects,
        "cost_micros": draw(costs),
    }
    match draw(st.sampled_from(["tokens", "tool", "subagent", "custom"])):
        case "tokens":
            cached, prompt, reasoning, completion = (draw(counts) // 2 for _ in range(4))
            tokens = TokenCounts(
                prompt=sign * (cached + prompt),
                cached=sign * cached,
                completion=sign * (reasoning + completion),
                reasoning=sign * reasoning,
                total=sign * draw(counts),
            )
            return UsageEntry(kind="tokens", model=draw(st.sampled_from("mn")), tokens=tokens, **fields)
        case "tool":
            call: dict[str, Any] = {"duration_ms": sign * draw(counts), "success": draw(st.booleans())}
            return UsageEntry(kind="tool", tool_name=draw(st.sampled_from("tu")), **call, **fields)
        case "subagent":
            call = {"duration_ms": sign * draw(counts), "success": draw(st.booleans())}
            return UsageEntry(
                kind="subagent", agent_type="s", sub_session_id=draw(st.sampled_from(SESSIONS)), **call, **fields
            )
        case _:
            return UsageEntry(kind="custom", name=draw(st.sampled_from("vw")), value=draw(numbers), **fields)


class TotalsMachine(RuleBasedStateMachine):
    """The model: the stored entries, and the deleted ones whose totals were kept."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        sqlite = SqliteDatabase(now_ms=FakeClock(NOW_MS).now_ms)
        self.run(run_migration(sqlite))
        self.database = FaultyDatabase(sqlite)
        self.store = D1UsageStore(self.database, now_ms=FakeClock(NOW_MS).now_ms)
        self.undisturbed = D1UsageStore(sqlite)
        self.stored: dict[str, UsageEntry] = {}
        self.kept: dict[str, list[UsageEntry]] = {session: [] for session in SESSIONS}

    def teardown(self) -> None:
        self.loop.close()

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(call)

    @rule(
        given=st.lists(entries(), max_size=6, unique_by=lambda entry: entry.id),
        moments=faults,
        broken=st.integers(0, 12),
    )
    def record(self, given: list[UsageEntry], moments: list[Any], broken: int) -> None:
        if not given:
            return
        if not moments and broken < 4:
            # The first batch stops at what is stored already; the one that follows shall break.
            self.database.leave_alone(any(entry.id in self.stored for entry in given))
            self.database.break_statement(broken)
            with pytest.raises(UsageError) as raised:
                self.run(self.store.record_entries(given))
            assert not raised.value.outcome_unknown
            return  # and nothing has changed
        self.database.fail(*moments)
        if len(moments) == retry.ATTEMPTS:
            with pytest.raises(UsageError) as raised:
                self.run(self.store.record_entries(given))
            assert raised.value.outcome_unknown
        returned = self.run(self.store.record_entries(given))
        self.stored = {**{entry.id: entry for entry in given}, **self.stored}
        assert returned == [self.stored[entry.id] for entry in given]

    @rule(session=st.sampled_from(SESSIONS), fault=st.sampled_from(["none", "before", "after"]))
    def delete(self, session: str, fault: Any) -> None:
        if fault != "none":
            self.database.fail(fault)
        try:
            self.run(self.store.delete(session))
        except UsageError:
            if fault == "before":
                return
        self.stored = {key: entry for key, entry in self.stored.items() if entry.session_id != session}
        self.kept[session] = []

    @rule(age_ms=ages_ms, keep=st.booleans(), fault=st.sampled_from(["none", "before", "after"]))
    def delete_old(self, age_ms: int, keep: bool, fault: Any) -> None:
        if fault != "none":
            self.database.fail(fault)
        try:
            self.run(self.store.delete_old_entries(age_ms=age_ms, keep_totals=keep))
        except UsageError:
            if fault == "before":
                return
        old = [entry for entry in self.stored.values() if (entry.timestamp or 0) < NOW_MS - age_ms]
        for entry in old:
            del self.stored[entry.id]
            if keep:
                self.kept[entry.session_id].append(entry)

    @rule()
    def rebuild(self) -> None:
        self.run(self.store.rebuild_rollups())

    @invariant()
    def every_rollup_is_the_sum(self) -> None:
        for session in SESSIONS:
            own = [entry for entry in self.stored.values() if entry.session_id == session]
            expected = sum_of(session, [*own, *self.kept[session]]).to_dict()
            expected["keptEntries"] = len(self.kept[session])
            assert self.run(self.undisturbed.get_rollup(session)).to_dict() == expected

    @invariant()
    def every_day_is_the_sum(self) -> None:
        kept = [entry for entries in self.kept.values() for entry in entries]
        everything = [*self.stored.values(), *kept]
        counted = Counter(map(_day, everything))
        kept_days = Counter(map(_day, kept))
        found = self.run(self.undisturbed.get_totals("day"))
        assert [(each.entry_count, each.kept_entries) for each in found] == [
            (counted[day], kept_days[day]) for day in sorted(counted)
        ]
        sums = sum_of("", everything)
        assert sum(each.tokens.total or 0 for each in found) == sums.tokens.total
        assert sum(each.cost_micros for each in found) == sums.cost_micros
        assert sum(each.unpriced_entries for each in found) == sums.unpriced_entries


def _day(entry: UsageEntry) -> int:
    return (entry.timestamp or 0) // DAY_MS


def test_totals_equal_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """US-3, US-6, US-8, US-12, US-13, US-16: After any calls, retries and faults, totals are the sums of the entries."""

    async def pause(attempt: int) -> None:
        assert attempt < retry.ATTEMPTS

    monkeypatch.setattr(retry, "pause_before_retry", pause)
    run_state_machine_as_test(
        TotalsMachine, settings=settings(max_examples=length(40, 1_000), stateful_step_count=25, deadline=None)
    )
