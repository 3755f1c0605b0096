"""Migrations on sqlite; on real D1 the same runner is in tests/in_worker, beside wrangler in tests/end_to_end."""

import asyncio
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import LiteralString, cast

import pytest

from agents_store_cloudflare import migrations
from agents_store_cloudflare.command.doctor_schema import look_at_schema
from agents_store_cloudflare.contract.errors import MigrationError
from agents_store_cloudflare.database import Row, SqlError, Statement
from agents_store_cloudflare.migrations import (
    CURRENT_SCHEMA_VERSION,
    MIGRATION_FILES,
    RECORDED_FILES,
    SCHEMA_MIGRATION_V1,
    TABLE_NAMES,
    drop_all_tables,
    get_agents_migration_version,
    get_agents_table_names,
    is_migrated,
    migration_text,
    run_migration,
)
from agents_store_cloudflare.testing import SqliteDatabase

FOLDER = Path(__file__).parents[2] / "migrations"


class Recording(SqliteDatabase):
    """A database that keeps the sent statements."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        self.sent += [statement.sql for statement in statements]
        return await super().batch(statements)


async def schema_of(database: SqliteDatabase) -> list[list[object]]:
    [rows] = await database.batch([Statement("SELECT type, name, sql FROM sqlite_master ORDER BY name")])
    return [list(row) for row in rows if not str(row[1]).startswith("sqlite_")]


async def at_version_1() -> SqliteDatabase:
    database = SqliteDatabase()
    await database.batch([Statement(part) for part in migrations.split_statements(SCHEMA_MIGRATION_V1)])
    return database


async def test_an_empty_database() -> None:
    """MG-1: The migration of an empty database gives the current schema."""
    database = SqliteDatabase()
    assert await get_agents_migration_version(database) == 0
    assert not await is_migrated(database)
    assert await run_migration(database) == CURRENT_SCHEMA_VERSION
    assert await is_migrated(database)
    assert await get_agents_table_names(database) == list(TABLE_NAMES)


async def test_version_1_reaches_the_same_schema_with_its_data() -> None:
    """MG-1, MG-8: A database of version 1 gets the same schema as a new one, and keeps its rows."""
    database = await at_version_1()
    assert await get_agents_migration_version(database) == 1
    old: Statement = Statement(
        "INSERT INTO __agents_states (session_id, agent_type, custom_state, created_at, updated_at)"
        " VALUES ('a', 'x', '{\"k\":1}', 1, 1), ('b', 'x', '{}', 2, 2)"
    )
    await database.batch([old])
    await run_migration(database)
    fresh = SqliteDatabase()
    await run_migration(fresh)
    assert await schema_of(database) == await schema_of(fresh)
    from agents_store_cloudflare.state import D1StateStore

    store = D1StateStore(database)
    state = await store.load_state("a", required=True)
    assert state is not None
    assert (state.custom_state, state.version, state.messages) == ({"k": 1}, 1, [])
    state.messages.append({"role": "user"})
    assert await store.save(state) == 2
    assert (await store.get_messages("b")).total == 0


async def test_a_current_schema_costs_one_read() -> None:
    """MG-2: one SELECT, no write."""
    database = Recording()
    await run_migration(database)
    database.sent.clear()
    await run_migration(database)
    assert len(database.sent) == 1
    assert database.sent[0].startswith("SELECT")


async def test_racers_all_succeed() -> None:
    """MG-3: Of twenty callers at once, the claim lets one migrate."""
    database = SqliteDatabase()
    assert await asyncio.gather(*(run_migration(database) for _ in range(20))) == [CURRENT_SCHEMA_VERSION] * 20
    [rows] = await database.batch([Statement("SELECT version FROM __agents_schema ORDER BY version")])
    assert rows == [[version] for version in range(2, CURRENT_SCHEMA_VERSION + 1)]


async def test_a_newer_database_is_refused() -> None:
    """MG-4: Nothing is written into a database with a later schema."""
    database = SqliteDatabase()
    await run_migration(database)
    await database.batch([Statement("INSERT INTO __agents_schema (version, name) VALUES (99, '0099.sql')")])
    before = await schema_of(database)
    with pytest.raises(MigrationError, match="version 99"):
        await run_migration(database)
    assert await schema_of(database) == before


async def test_a_failing_file_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """MG-1: A migration happens completely or not at all, and its error has the cause."""

    def broken(name: str) -> str:
        return migration_text(name) + "\n\nSELECT nonsense FROM nowhere;\n"

    monkeypatch.setattr(migrations, "migration_text", broken)
    database = SqliteDatabase()
    with pytest.raises(MigrationError, match="no such table"):
        await run_migration(database)
    assert await schema_of(database) == []


async def test_drop_and_again() -> None:
    """MG-7: A drop removes everything, wrangler's records too, and a new migration works. A drop of nothing is no error."""
    database = SqliteDatabase()
    await drop_all_tables(database)
    await run_migration(database)
    await drop_all_tables(database)
    assert await get_agents_table_names(database) == []
    [rows] = await database.batch([Statement("SELECT name FROM d1_migrations")])
    assert rows == []
    assert await run_migration(database) == CURRENT_SCHEMA_VERSION


async def test_names_of_other_migrations_are_left_alone() -> None:
    """MG-10: Wrangler's records of your own files, 0001_init.sql among them, are neither made nor removed."""
    database = SqliteDatabase()
    await run_migration(database)
    [rows] = await database.batch([Statement("SELECT name FROM d1_migrations ORDER BY id")])
    assert rows == [[name] for name in RECORDED_FILES]
    await database.batch(
        [Statement("INSERT INTO d1_migrations (name) VALUES ('0001_init.sql'), ('0002_agents_sessions.sql')")]
    )
    await drop_all_tables(database)
    [rows] = await database.batch([Statement("SELECT name FROM d1_migrations ORDER BY id")])
    assert rows == [["0001_init.sql"], ["0002_agents_sessions.sql"]]
    with pytest.raises(SqlError, match="UNIQUE"):
        await database.batch([Statement("INSERT INTO d1_migrations (name) VALUES ('0001_init.sql')")])


ORDINARY = (
    "sessions", "messages", "usage", "states", "runs", "checkpoints", "fences", "budgets", "reservations", "settlements", "directory",
    "migrations", "schema", "schema_migrations", "_cf_migrations", "agents", "agents_states", "_agents_states", "locks", "streams", "turns",
)  # fmt: skip
"""Names that a user's own migrations may well have."""


async def test_tables_of_ordinary_names_are_left_alone() -> None:
    """MG-10: Migration, drop and a second migration leave the user's own tables, indexes and views as they are."""
    database = SqliteDatabase()
    for name in ORDINARY:
        for text in (
            f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, mine TEXT)",
            f"INSERT INTO {name} (mine) VALUES ('{name}')",
            f"CREATE INDEX idx_{name} ON {name} (mine)",
        ):
            await database.batch([Statement(cast("LiteralString", text))])  # type: ignore[redundant-cast]
    before = await schema_of(database)
    assert await run_migration(database) == CURRENT_SCHEMA_VERSION
    own = [each for each in await schema_of(database) if each not in before]
    assert all(str(name).startswith(("__agents_", "idx___agents_", "d1_migrations")) for _, name, _ in own)
    await drop_all_tables(database)
    assert [each for each in await schema_of(database) if each[1] != "d1_migrations"] == before
    assert await run_migration(database) == CURRENT_SCHEMA_VERSION


@pytest.mark.parametrize(
    "own",
    [
        "CREATE TABLE d1_migrations (id INTEGER PRIMARY KEY, file TEXT NOT NULL)",
        "CREATE TABLE d1_migrations (name TEXT PRIMARY KEY, batch INTEGER NOT NULL)",
        "CREATE VIEW d1_migrations AS SELECT 1 AS id",
    ],
)
async def test_a_record_that_is_not_wranglers(own: LiteralString) -> None:
    """MG-10: your own table or view of the name `d1_migrations` stays as it is; the migration succeeds without a record."""
    database = SqliteDatabase()
    await database.batch([Statement(own)])
    if "file" in own:
        await database.batch([Statement("INSERT INTO d1_migrations (file) VALUES ('mine.sql')")])
    before = [await database.batch([Statement("SELECT * FROM d1_migrations")]), await schema_of(database)]
    for _ in range(2):
        assert await run_migration(database) == CURRENT_SCHEMA_VERSION
        findings = await look_at_schema(database)
        assert [each.check for each in findings] in ([], ["unrecorded_files"])
        assert await database.batch([Statement("SELECT * FROM d1_migrations")]) == before[0]
        await drop_all_tables(database)
        assert [await database.batch([Statement("SELECT * FROM d1_migrations")]), await schema_of(database)] == before


async def test_no_table_refers_to_another_one() -> None:
    """MG-11: No table has a foreign key, because a restored dump fills tables before it makes indexes."""
    database = SqliteDatabase()
    await run_migration(database)
    for table in TABLE_NAMES:
        # Only names of the package's own tables come here.
        [rows] = await database.batch([Statement(f"PRAGMA foreign_key_list({table})")])  # pyright: ignore[reportArgumentType]
        assert rows == []


async def test_the_first_file_makes_the_documented_tables() -> None:
    """MG-6: exactly two tables and three indexes, and running it again changes nothing."""
    database = await at_version_1()
    before = await schema_of(database)
    assert [row[1] for row in before] == [
        "__agents_states",
        "__agents_usage",
        "idx___agents_usage_kind",
        "idx___agents_usage_session_id",
        "idx___agents_usage_timestamp",
    ]
    await database.batch([Statement(part) for part in migrations.split_statements(SCHEMA_MIGRATION_V1)])
    assert await schema_of(database) == before


async def test_constants_and_files_agree() -> None:
    """MG-9: The folder, the list of files, their claims and the table names agree."""
    assert sorted(path.name for path in FOLDER.glob("*.sql")) == list(MIGRATION_FILES)
    for number, name in enumerate(MIGRATION_FILES, start=1):
        assert name.startswith(f"{number:04}_")
        claims = re.findall(
            r"INSERT INTO __agents_schema \(version, name\) VALUES \((\d+), '(.*)'\)", migration_text(name)
        )
        assert claims == ([] if number == 1 else [(str(number), name)])
        recorded = re.findall(r"INSERT OR IGNORE INTO d1_migrations \(name\) VALUES \('(.*)'\)", migration_text(name))
        assert recorded == ([] if number == 1 else [name])
    database = SqliteDatabase()
    await run_migration(database)
    tables = {row[1] for row in await schema_of(database) if row[0] == "table"}
    assert tables - {"d1_migrations"} == set(TABLE_NAMES)


@pytest.mark.parametrize("name", MIGRATION_FILES)
def test_files_split_into_whole_statements(name: str) -> None:
    """MG-9: The runner sends complete statements one by one, and together they are the whole file."""
    parts = migrations.split_statements(migration_text(name))
    assert all(sqlite3.complete_statement(part + ";") for part in parts)
    assert all(part.split()[0] in {"CREATE", "INSERT", "ALTER", "UPDATE"} for part in parts)
