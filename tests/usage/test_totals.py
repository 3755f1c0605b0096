"""Totals on sqlite: entries that were there before them, entries that go, entries that others wrote."""

import json
from typing import LiteralString, cast

import pytest

from agents_store_cloudflare.contract.errors import UsageError
from agents_store_cloudflare.contract.state.records import AgentState
from agents_store_cloudflare.contract.usage.records import UsageRollup
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.migrations import MIGRATION_FILES, migration_text, run_migration, split_statements
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing import FakeClock, FaultyDatabase, SqliteDatabase
from agents_store_cloudflare.testing.conformance.usage import entry_of_each_kind
from agents_store_cloudflare.testing.conformance.usage_totals import sum_of
from agents_store_cloudflare.usage import D1UsageStore, UsageOptions, usage_statements
from agents_store_cloudflare.usage.sql import INSERT_ENTRIES
from agents_store_cloudflare.usage.table_names import for_table

ENTRY: LiteralString = (
    "INSERT INTO __agents_usage VALUES (?1, ?2, 'tokens', 0, ?3, 'agent', 'x', "
    """'{"model":"m","tokens":{"prompt":9007199254740991,"completion":1,"reasoning":0,"cached":0,"total":9007199254740992}}', 0)"""
)


@pytest.fixture
async def database() -> SqliteDatabase:
    database = SqliteDatabase()
    await run_migration(database)
    return database


async def _totals(database: SqliteDatabase, table: str) -> list[list[object]]:
    order = "1, 2, 3" if table.endswith("sub_sessions") else "1, 2, 3, 4"
    select = cast("LiteralString", f"SELECT * FROM {table} ORDER BY {order}")  # type: ignore[redundant-cast]
    [rows] = await database.batch([Statement(select)])
    return [[*row[:-1], json.loads(str(row[-1]))] if str(row[-1]).startswith("{") else list(row) for row in rows]


async def test_entries_of_an_earlier_version_are_counted() -> None:
    """US-16: The migration counts the stored entries exactly as if they were recorded now."""
    old = SqliteDatabase()
    for name in MIGRATION_FILES[:2]:
        await old.batch([Statement(sql) for sql in split_statements(migration_text(name))])
    new = SqliteDatabase()
    await run_migration(new)
    entries = [entry for session in ("s", "t") for entry in entry_of_each_kind(session)]
    await D1UsageStore(new).record_entries(entries)
    dump = Statement("SELECT * FROM __agents_usage")
    [rows] = await new.batch([dump])
    await old.batch(
        [
            Statement("INSERT INTO __agents_usage VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)", tuple(row))
            for row in rows
        ]
    )
    await run_migration(old)
    for table in ("__agents_usage_by_session", "__agents_usage_by_day", "__agents_usage_sub_sessions"):
        assert await _totals(old, table) == await _totals(new, table)
    store = D1UsageStore(old)
    await store.record_entries(entries)
    assert await store.get_rollup("s") == sum_of("s", await store.get_entries("s"))


async def test_a_custom_table_without_totals_is_upgraded(database: SqliteDatabase) -> None:
    """US-11, US-16: `ensure_table` counts the entries of a table of an earlier version, once."""
    creations: list[LiteralString] = [
        sql for sql in split_statements(migration_text("0001_init.sql")) if "__agents_usage" in sql
    ]
    renamed = [Statement(for_table(sql, "mine")) for sql in creations]
    insert = Statement(for_table(ENTRY, "mine"), ("e", "s", 5))
    await database.batch([*renamed, insert])
    store = D1UsageStore(database, table_name="mine")
    await store.ensure_table()
    await store.ensure_table()
    assert (await store.get_rollup("s")).tokens.total == 2**53
    await store.record_custom("s", name="n", value=1, timestamp=6)
    await store.ensure_table()
    assert (await store.get_rollup("s")).entry_count == 2


async def test_what_others_write_is_counted_by_a_rebuild(database: SqliteDatabase) -> None:
    """US-16: After `rebuild_rollups` entries of other programs count. Counted ones still count once."""
    store = D1UsageStore(database)
    await store.record_custom("s", name="n", value=1.5)
    for number in range(3):
        await database.batch([Statement(ENTRY, (f"e{number}", "s", 5))])
    assert (await store.get_rollup("s")).entry_count == 1
    for _ in range(2):
        await store.rebuild_rollups()
        rollup = await store.get_rollup("s")
        assert rollup == sum_of("s", await store.get_entries("s"))
        assert rollup.entry_count == 4


STRANGE_BODIES = [
    "{}",
    "not JSON",
    "[1]",
    "5",
    "null",
    '{"tokens":{"prompt":1.5,"total":"x"},"value":"y","durationMs":"z","costMicros":0.5}',
    '{"tokens":5}',
    '{"tokens":{"unheard of":1}}',
    '{"value":1e400}',
    '{"value":-1e999}',
    '{"tokens":{"prompt":99999999999999999999}}',
    f'{{"data":{"[" * 5_000}{"]" * 5_000}}}',
    '{"model":"\\ud800","toolName":"\\ud800","agentType":"\\ud800","name":"\\ud800"}',
]
STRANGE_KINDS = ("tokens", "tool", "subagent", "custom", "unheard of")


@pytest.mark.parametrize("body", STRANGE_BODIES, ids=lambda body: body[:40])
async def test_entries_of_others_need_not_make_sense(database: SqliteDatabase, body: str) -> None:
    """US-14, US-16: A row that this package would refuse stops no read, rebuild or deletion, and counts as an entry."""
    store = D1UsageStore(database)
    good = await store.record_custom("s", name="n", value=1, timestamp=4)
    insert: LiteralString = "INSERT INTO __agents_usage VALUES (?1, 's', ?1, 0, 5, 'agent', 'x', ?2, 0)"
    await database.batch([Statement(insert, (kind, body)) for kind in STRANGE_KINDS])
    await store.rebuild_rollups()
    assert (await store.get_rollup("s")).entry_count == 6
    assert sum(each.entry_count for each in await store.get_totals("day")) == 6
    assert [each.key for each in await store.get_totals("agent")] == ["agent", "x"]
    assert len(await store.get_totals("model")) == len(await store.get_totals("tool")) == 1
    entries = await store.get_entries("s")
    assert entries[0] == good
    assert [(each.id, each.kind, each.timestamp) for each in entries[1:]] == [(kind, kind, 5) for kind in STRANGE_KINDS]
    assert await store.delete_old_entries(0.001, keep_totals=True) == 6
    assert (await store.get_rollup("s")).kept_entries == 6
    assert await store.delete("s") == 0
    assert await store.get_totals("day") == []


async def test_an_unreadable_body_is_shown(database: SqliteDatabase) -> None:
    """US-14: An entry with an unreadable body has its columns, and the body's text in `extra`."""
    insert: LiteralString = "INSERT INTO __agents_usage VALUES ('e', 's', 'tool', 3, 5, 'agent', 'x', ?1, 0)"
    await database.batch([Statement(insert, ("not JSON",))])
    [entry] = await D1UsageStore(database).get_entries("s")
    assert (entry.id, entry.kind, entry.step_count, entry.source.name) == ("e", "tool", 3, "x")
    assert entry.extra == {"unreadableBody": "not JSON"}


@pytest.mark.parametrize("time", ["'abc'", "x'ff'", "1.5", "-7", "9223372036854775807"])
async def test_times_of_others_need_not_make_sense(database: SqliteDatabase, time: LiteralString) -> None:
    """US-14, US-16: A time that is no whole number affects only its own row."""
    store = D1UsageStore(database)
    await store.record_custom("s", name="n", value=1)
    insert: LiteralString = f"INSERT INTO __agents_usage VALUES ('e', 's', 'tool', 0, {time}, 'agent', 'x', '{{}}', 0)"
    await database.batch([Statement(insert)])
    await store.rebuild_rollups()
    rollup = await store.get_rollup("s", include_sub_agents=True)
    assert (rollup.entry_count, type(rollup.first_timestamp), type(rollup.last_timestamp)) == (2, int, int)
    assert sum(each.entry_count for each in await store.get_totals("day")) == 2
    assert {each.id == "e" for each in await store.get_entries("s")} == {True, False}
    assert await store.delete("s") == 2
    assert await store.get_totals("day") == []


async def test_kept_totals_say_so() -> None:
    """US-8: With `keep_totals` the totals change only in the number of deleted entries that they report, also after a rebuild."""
    clock = FakeClock(now_ms=1_000_000_000)
    database = SqliteDatabase(now_ms=clock.now_ms)
    await run_migration(database)
    store = D1UsageStore(database, now_ms=clock.now_ms)
    for at in (1_000, 500_000_000, 999_999_999):
        await store.record_entries(
            [{**entry.to_dict(), "id": f"{at}-{entry.id}", "timestamp": at} for entry in entry_of_each_kind("s")]
        )
    before = (await store.get_rollup("s")).to_dict()
    days = await store.get_totals("day")
    assert await store.delete_old_entries(age_ms=400_000_000, keep_totals=True) == 12
    await store.rebuild_rollups()
    assert (await store.get_rollup("s")).to_dict() == {**before, "keptEntries": 12}
    assert (await store.get_rollup("s", include_sub_agents=True)).entry_count == 18
    after = await store.get_totals("day")
    assert [each.entry_count for each in after] == [each.entry_count for each in days]
    assert [each.kept_entries for each in after] == [6, 6, 0]
    assert await store.delete_old_entries(age_ms=0) == 6
    assert (await store.get_rollup("s")).entry_count == 12, "what was kept stays kept"
    assert await store.get_entry_count("s") == 0
    await store.delete("s")
    assert await store.get_rollup("s") == UsageRollup(session_id="s")


async def test_a_session_deleted_with_its_usage(database: SqliteDatabase) -> None:
    """US-8: `delete_session` with `delete_usage` removes the share of the whole tree from every total."""
    usage, state = D1UsageStore(database), D1StateStore(database)
    await state.save(AgentState(session_id="root", agent_type="x"))
    await state.save(AgentState(session_id="child", agent_type="x", parent_session_id="root"))
    for session in ("root", "child", "stranger"):
        await usage.record_entries(entry_of_each_kind(session))
    await state.delete_session("root", delete_usage=True)
    for session in ("root", "child"):
        assert await usage.get_rollup(session, include_sub_agents=True) == UsageRollup(session_id=session)
    assert [each.entry_count for each in await usage.get_totals("day")] == [6]
    alone = SqliteDatabase()
    await run_migration(alone)
    await D1UsageStore(alone).record_entries(entry_of_each_kind("stranger"))
    assert await _totals(database, "__agents_usage_by_day") == await _totals(alone, "__agents_usage_by_day")


def test_totals_come_before_entries() -> None:
    """US-6: The batch finds repeated entries by the stored ones, so it inserts the entries last."""
    statements = usage_statements("s", entry_of_each_kind("s"), lambda: 0, UsageOptions())
    assert [statement.sql for statement in statements].index(INSERT_ENTRIES) == len(statements) - 1
    assert usage_statements("s", [], lambda: 0, UsageOptions()) == []


async def test_a_deletion_whose_reply_was_lost() -> None:
    """US-12, US-15: With a commit id the store repeats a deletion, and counts the entries that the first attempt deleted."""
    database = FaultyDatabase(SqliteDatabase())
    await run_migration(database)
    store = D1UsageStore(database)
    await store.record_entries(entry_of_each_kind("s"))
    database.fail("after", "before")
    assert await store.delete("s", commit_id="c") == 6
    assert await store.delete("s", commit_id="c") == 6
    database.fail("after")
    with pytest.raises(UsageError) as raised:
        await store.delete("s")
    assert raised.value.outcome_unknown
