"""The usage store on sqlite, through the same conformance class as on D1, and what only a host can test."""

import pytest
from hypothesis import given, settings, strategies as st

from agents_store_cloudflare.contract.errors import D1StateError, InvalidArgumentError, UsageError
from agents_store_cloudflare.contract.state.records import AgentState
from agents_store_cloudflare.contract.usage.records import TokenCounts, UsageEntry, UsageSource
from agents_store_cloudflare.database import Statement, retry
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing import FakeClock, FaultyDatabase, SqliteDatabase
from agents_store_cloudflare.testing.conformance.usage import UsageConformance, entry_of_each_kind
from agents_store_cloudflare.testing.conformance.usage_budgets import UsageBudgetConformance
from agents_store_cloudflare.testing.conformance.usage_totals import UsageTotalsConformance
from agents_store_cloudflare.usage import D1UsageStore, UsageOptions
from tests.lengths import length


@pytest.fixture
async def database() -> SqliteDatabase:
    database = SqliteDatabase()
    await run_migration(database)
    return database


class TestUsage(UsageConformance, UsageTotalsConformance, UsageBudgetConformance):
    @pytest.fixture
    def usage_store(self, database: SqliteDatabase) -> D1UsageStore:
        return D1UsageStore(database)

    @pytest.fixture
    def state_store(self, database: SqliteDatabase) -> D1StateStore:
        return D1StateStore(database)


class TestCustomTable(UsageConformance, UsageTotalsConformance):
    @pytest.fixture
    async def usage_store(self, database: SqliteDatabase) -> D1UsageStore:
        store = D1UsageStore(database, table_name="my_usage_2")
        await store.ensure_table()
        await store.ensure_table()
        return store

    @pytest.fixture
    def state_store(self, database: SqliteDatabase) -> D1StateStore:
        return D1StateStore(database, usage=UsageOptions(table_name="my_usage_2"))


@pytest.mark.parametrize(
    "name", ["", "a b", "1a", "a;drop", 'a"', "ä", "a" * 64, "a.b", "__agents_states", "sqlite_x", "_cf_x", "D1_x"]
)
def test_table_names(name: str) -> None:
    """US-11: a table name is a plain identifier."""
    with pytest.raises(InvalidArgumentError, match="table_name"):
        D1UsageStore(SqliteDatabase(), table_name=name)


async def test_a_missing_table_says_so(database: SqliteDatabase) -> None:
    """US-11: Without `ensure_table` the error names the remedy."""
    with pytest.raises(UsageError, match="ensure_table"):
        await D1UsageStore(database, table_name="mine").exists("s")


async def test_old_entries() -> None:
    """US-8: Entries strictly older by their own time are deleted."""
    clock = FakeClock(now_ms=1_000_000)
    database = SqliteDatabase(now_ms=clock.now_ms)
    await run_migration(database)
    store = D1UsageStore(database, now_ms=clock.now_ms)
    for at in (1, 899_999, 900_000, 1_000_000):
        await store.record_custom("s", name="n", value=1, timestamp=at)
    assert await store.delete_old_entries(100) == 2
    assert [entry.timestamp for entry in await store.get_entries("s")] == [900_000, 1_000_000]
    assert await store.delete_old_entries(age_ms=0) == 1


async def test_one_call_is_one_batch(database: SqliteDatabase) -> None:
    """US-2, US-7: Recording a hundred entries, and the rollup of a tree, are one round trip each. A repetition takes two."""
    store = D1UsageStore(database)
    entries = [{**entry.to_dict(), "id": f"{n}"} for n, entry in enumerate(entry_of_each_kind("s") * 16)]
    before = database.batches
    recorded = await store.record_entries(entries)
    rollup = await store.get_rollup("s", include_sub_agents=True)
    assert database.batches == before + 2
    assert await store.record_entries(entries) == recorded
    assert database.batches == before + 4
    assert await store.get_rollup("s", include_sub_agents=True) == rollup


@pytest.mark.parametrize("moments", [("before",), ("after",), ("after", "after", "before")], ids="-".join)
async def test_lost_replies(
    database: SqliteDatabase, moments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """US-3, US-12: The store's own retries record once. When they run out, the error says that the outcome is unknown."""

    async def pause(attempt: int) -> None:
        assert attempt < retry.ATTEMPTS

    monkeypatch.setattr(retry, "pause_before_retry", pause)
    faulty = FaultyDatabase(database)
    store = D1UsageStore(faulty)
    faulty.fail(*moments)  # type: ignore[arg-type]
    await store.record_custom("s", name="n", value=1)
    assert await store.get_entry_count("s") == 1
    faulty.fail(*["before"] * retry.ATTEMPTS)  # type: ignore[arg-type]
    with pytest.raises(UsageError) as raised:
        await store.get_rollup("s")
    assert raised.value.outcome_unknown
    assert raised.value.__cause__ is not None


def _counts(cached: int, prompt: int, reasoning: int, completion: int) -> TokenCounts:
    return TokenCounts(prompt=cached + prompt, cached=cached, completion=reasoning + completion, reasoning=reasoning)


counts = st.builds(_counts, *[st.integers(0, 2**50)] * 4)


@settings(max_examples=length(30, 2_000), deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), counts), max_size=20))
async def test_rollups_equal_sums(recorded: list[tuple[str, TokenCounts]]) -> None:
    """US-6: Every count of the rollup is the sum of the entries, whatever was recorded."""
    database = SqliteDatabase()
    await run_migration(database)
    store = D1UsageStore(database)
    source = UsageSource(type="agent", name="x")
    entries = [UsageEntry(session_id="s", kind="tokens", source=source, model=m, tokens=t) for m, t in recorded]
    await store.record_entries(entries)
    rollup = await store.get_rollup("s")
    for name in ("prompt", "completion", "cached", "reasoning", "total"):
        assert getattr(rollup.tokens, name) == sum(getattr(tokens, name) for _, tokens in recorded)
        for model, total in rollup.tokens_by_model.items():
            assert getattr(total, name) == sum(getattr(tokens, name) for other, tokens in recorded if other == model)


@pytest.mark.parametrize("moments", [("before",), ("after",), ("after", "before", "after")], ids="-".join)
async def test_a_save_with_usage_whose_reply_was_lost(
    database: SqliteDatabase, moments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """US-23: The store's own retries save the state and its entries once, although ids were made on the way."""

    async def pause(attempt: int) -> None:
        assert attempt < retry.ATTEMPTS

    monkeypatch.setattr(retry, "pause_before_retry", pause)
    faulty = FaultyDatabase(database)
    faulty.fail(*moments)  # type: ignore[arg-type]
    state = AgentState(session_id="s", agent_type="x")
    entry = {"kind": "custom", "session_id": "s", "source": {"type": "agent", "name": "x"}, "name": "n", "value": 1}
    assert await D1StateStore(faulty).save(state, usage=[entry, entry]) == 1
    assert (await D1UsageStore(database).get_rollup("s")).custom == {"n": {"count": 2, "total": 2}}
    faulty.break_statement(4)
    with pytest.raises(D1StateError):
        await D1StateStore(faulty).save(state, usage=[entry])
    assert (await D1UsageStore(database).get_rollup("s")).entry_count == 2
    assert state.version == 1


@pytest.mark.parametrize(
    "name", ["select", "Order", "tree", "counted", "mine_by_day", "mine_parts", "idx_mine", "json_each"]
)
def test_a_table_name_that_cannot_be_one(database: SqliteDatabase, name: str) -> None:
    """US-11: A word of SQL, or a possible name of another table's totals, is refused when the store is made."""
    with pytest.raises(InvalidArgumentError, match="table_name"):
        D1UsageStore(database, table_name=name)


async def test_days_before_1970(database: SqliteDatabase) -> None:
    """US-14: A range of days that ends before 1970 holds nothing, not the first day of 1970."""
    store = D1UsageStore(database)
    await store.record_tokens("s", model="m", tokens={"prompt": 1, "completion": 1}, timestamp=0)
    assert [each.key for each in await store.get_totals("day", first_day="1969-12-31")] == ["1970-01-01"]
    assert await store.get_totals("day", last_day="1969-12-31") == []


async def test_a_row_of_others_costs_only_itself(database: SqliteDatabase) -> None:
    """US-14, US-16: An impossible time, written by somebody else, breaks no view and no rebuild."""
    store = D1UsageStore(database)
    await store.record_tokens("s", model="m", tokens={"prompt": 1, "completion": 1})
    await database.batch(
        [
            Statement(
                "INSERT INTO __agents_usage VALUES"
                " ('x', 's', 'custom', 0, 9007199254740991, 'agent', 'a', '{\"name\":\"n\",\"value\":1}', 0)"
            )
        ]
    )
    await store.rebuild_rollups()
    assert [total.key for total in await store.get_totals("day")][1:] == ["day 104249991"]
    assert len(await store.get_entries("s")) == 2
    assert (await store.get_rollup("s")).entry_count == 2
