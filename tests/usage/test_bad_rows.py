"""A row of usage or of a budget that another program has damaged costs itself: reads, records, deletions and reservations go on."""

from collections.abc import AsyncIterator
from typing import LiteralString, cast

import pytest

from agents_store_cloudflare import run_migration
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.testing import FakeClock, SqliteDatabase
from agents_store_cloudflare.usage import D1UsageStore

BAD = (
    "'{'",
    "'[1]'",
    "'5'",
    "x'00ff'",
    "replace(hex(zeroblob(30000)), '0', '[')",
    """'{"entries": 9223372036854775807}'""",
)
DAY_S = 86_400


@pytest.fixture
async def database(clock: FakeClock) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(now_ms=clock.now_ms)
    await run_migration(database)
    yield database
    database.close()


async def _filled(database: SqliteDatabase, clock: FakeClock) -> D1UsageStore:
    """Return three sessions of one day each. The first one has totals without entries."""
    store = D1UsageStore(database, now_ms=clock.now_ms)
    for session_id in ("kept", "bad", "after"):
        await store.record_tokens(session_id, model="m", tokens={"prompt": 5})
        await clock.advance(2 * DAY_S)
        if session_id == "kept":
            await store.delete_old_entries(0, keep_totals=True)
    return store


def _damage(table: str, value: str, where: str) -> Statement:
    column = "chain" if table == "__agents_budgets" else "amounts"
    return Statement(cast("LiteralString", f"UPDATE {table} SET {column} = {value} WHERE {where}"))  # type: ignore[redundant-cast]


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("table", ["__agents_usage_by_session", "__agents_usage_by_day", "__agents_usage_kept"])
async def test_totals(database: SqliteDatabase, clock: FakeClock, table: str, value: str) -> None:
    """US-14: Other totals stay exact, the damaged one says that it lacks a row, and a rebuild repairs it."""
    store = await _filled(database, clock)
    where = (
        "session_id IN ('bad', 'kept')"
        if table != "__agents_usage_by_day"
        else "day < (SELECT max(day) FROM __agents_usage_by_day)"
    )
    await database.batch([_damage(table, value, where)])

    days = await store.get_totals("day")
    assert (len(days), days[-1].tokens.total, days[-1].unreadable_rows) == (3, 5, 0)
    assert (await store.get_rollup("after")).tokens.total == 5
    rollup = await store.get_rollup("bad")
    if table == "__agents_usage_by_day" and "entries" not in value:
        assert [day.unreadable_rows for day in days] == [1, 1, 0]
    if table == "__agents_usage_by_session" and "entries" not in value:
        assert (rollup.unreadable_rows, rollup.entry_count) == (1, 0)
    [model] = await store.get_totals("model")
    assert model.tokens.total >= 5

    await store.record_tokens("bad", model="m", tokens={"prompt": 1})
    await store.record_tokens("after", model="m", tokens={"prompt": 1})
    assert (await store.get_rollup("after")).tokens.total == 6
    await store.delete_old_entries(0, keep_totals=True)
    assert (await store.get_rollup("after")).kept_entries == 1
    for session_id in ("kept", "bad"):
        await store.delete(session_id)
    await store.rebuild_rollups()
    assert (await store.get_rollup("after")).tokens.total == 6
    await store.delete("after")


@pytest.mark.parametrize("value", BAD[:-1])
async def test_counting_anew_mends(database: SqliteDatabase, clock: FakeClock, value: str) -> None:
    """US-16: After damage to the totals of stored entries, `rebuild_rollups` restores them."""
    store = await _filled(database, clock)
    before = (
        [(await store.get_rollup(each)).to_dict() for each in ("kept", "bad", "after")],
        await store.get_totals("day"),
    )
    for table in ("__agents_usage_by_session", "__agents_usage_by_day"):
        await database.batch([_damage(table, value, "kept = 0")])
    await store.record_tokens("bad", model="m", tokens={"prompt": 1})
    await store.rebuild_rollups()
    await store.delete("bad")
    after = [(await store.get_rollup(each)).to_dict() for each in ("kept", "after")], await store.get_totals("day")
    assert after == ([before[0][0], before[0][2]], [before[1][0], before[1][2]])


async def test_a_run_among_damaged_entries(database: SqliteDatabase) -> None:
    """US-14: An entry with a body that is no JSON belongs to no run, and hides no other entry."""
    store = D1UsageStore(database)
    for n in (1, 2, 3):
        await store.record_tokens("s", step_count=n, model="m", tokens={"prompt": n}, run_id="r")
    await database.batch([Statement("UPDATE __agents_usage SET data = '{' WHERE step_count = 2")])
    assert [each.step_count for each in await store.get_entries("s", run_id="r")] == [1, 3]
    assert (await store.get_rollup("s", run_id="r")).tokens.total == 4


@pytest.mark.parametrize("value", ["'{'", "x'00ff'", "''"])
async def test_budgets(database: SqliteDatabase, clock: FakeClock, value: str) -> None:
    """US-19: A damaged chain does not stop other scopes from reserving, settling and releasing."""
    store = D1UsageStore(database, now_ms=clock.now_ms)
    await store.set_budget("tenant", 100, "tokens")
    await store.set_budget("bad", 100, "tokens", parent="tenant")
    await store.set_budget("good", 100, "tokens", parent="tenant")
    early = await store.reserve("bad", 30, ttl=1)
    await database.batch([_damage("__agents_budgets", value, "scope = 'bad'")])
    await clock.advance(2)
    tenant = await store.get_budget("tenant")
    assert tenant is not None
    assert tenant.reserved == 0
    late = await store.reserve("good", 100)
    assert late is not None
    assert await store.reserve("bad", 1) is None
    assert early is not None
    await store.settle(early, 40)
    await store.release(late)
    budgets = [await store.get_budget(scope) for scope in ("tenant", "bad", "good")]
    assert [(each.reserved, each.settled) for each in budgets if each is not None] == [(0, 40), (0, 40), (0, 0)]
