"""Brings a D1 database to the schema that this code needs. It runs inside the Worker, and works together with wrangler.

The SQL stands only in `migrations/*.sql`. Version 1 may be run again at any time. Each later file begins with a claim of its
version in `__agents_schema`. When two callers race, one of them does the work, and the other finds it done. Each later file also
records its name in wrangler's `d1_migrations`. So `run_migration`, `wrangler d1 migrations apply` and `wrangler d1 execute --file`
may be mixed in any order.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import LiteralString, cast

from agents_store_cloudflare.cloudflare.d1 import as_database
from agents_store_cloudflare.contract.errors import MigrationError
from agents_store_cloudflare.database import Database, Row, SqlError, Statement, batch_with_retry

__all__ = [
    "CURRENT_SCHEMA_VERSION",
    "MIGRATION_FILES",
    "RECORDED_FILES",
    "SCHEMA_MIGRATION_V1",
    "TABLE_NAMES",
    "drop_all_tables",
    "get_agents_migration_version",
    "get_agents_table_names",
    "has_other_record",
    "is_migrated",
    "migration_text",
    "run_migration",
    "split_statements",
]

MIGRATION_FILES: tuple[str, ...] = (
    "0001_init.sql",
    "0002_agents_store_sessions.sql",
    "0003_agents_store_usage.sql",
    "0004_agents_store_turns.sql",
    "0005_agents_store_homes.sql",
    "0006_agents_store_langgraph.sql",
    "0007_agents_store_pydantic_ai.sql",
    "0008_agents_store_a2a.sql",
)
"""The files in order. The number of a file is the version that it brings."""

RECORDED_FILES: tuple[str, ...] = MIGRATION_FILES[1:]
"""The files that record their names in wrangler's `d1_migrations`.

`0001_init.sql` does not, because your own first migration may have that name. It may be applied again at any time.
"""

CURRENT_SCHEMA_VERSION: int = len(MIGRATION_FILES)

TABLE_NAMES: tuple[str, ...] = (
    "__agents_states",
    "__agents_usage",
    "__agents_schema",
    "__agents_message_blocks",
    "__agents_checkpoints",
    "__agents_fences",
    "__agents_staged_changes",
    "__agents_runs",
    "__agents_sub_sessions",
    "__agents_usage_by_session",
    "__agents_usage_by_day",
    "__agents_usage_kept",
    "__agents_usage_sub_sessions",
    "__agents_usage_commits",
    "__agents_budgets",
    "__agents_reservations",
    "__agents_settlements",
    "__agents_directory",
    "__agents_graph_checkpoints",
    "__agents_graph_lines",
    "__agents_graph_items",
    "__agents_conversations",
    "__agents_conversation_entries",
    "__agents_a2a_tasks",
)

_ATTEMPTS = 5

# -> (version or NULL). One row read when the schema is current.
_CLAIMED_VERSION = Statement("SELECT max(version) FROM __agents_schema")

# -> (how many of the two documented tables exist)
_DOCUMENTED_TABLES = Statement(
    """
    SELECT count(*)
    FROM sqlite_master
    WHERE type = 'table'
      AND name IN ('__agents_states', '__agents_usage')
    """
)

# ?1 JSON list of names -> (name) for each that exists
_EXISTING_TABLES: LiteralString = """
    SELECT name
    FROM sqlite_master
    WHERE type = 'table'
      AND name IN (SELECT value FROM json_each(?1))
"""

_DROPS: tuple[LiteralString, ...] = (
    "DROP TABLE IF EXISTS __agents_a2a_tasks",
    "DROP TABLE IF EXISTS __agents_conversations",
    "DROP TABLE IF EXISTS __agents_conversation_entries",
    "DROP TABLE IF EXISTS __agents_graph_items",
    "DROP TABLE IF EXISTS __agents_graph_lines",
    "DROP TABLE IF EXISTS __agents_graph_checkpoints",
    "DROP TRIGGER IF EXISTS __agents_numbered",
    "DROP TRIGGER IF EXISTS __agents_session_deleted",
    "DROP VIEW IF EXISTS __agents_next_session_no",
    "DROP VIEW IF EXISTS __agents_messages",
    "DROP VIEW IF EXISTS __agents_usage_parts",
    "DROP TABLE IF EXISTS __agents_directory",
    "DROP TABLE IF EXISTS __agents_settlements",
    "DROP TABLE IF EXISTS __agents_reservations",
    "DROP TABLE IF EXISTS __agents_budgets",
    "DROP TABLE IF EXISTS __agents_usage_commits",
    "DROP TABLE IF EXISTS __agents_usage_sub_sessions",
    "DROP TABLE IF EXISTS __agents_usage_kept",
    "DROP TABLE IF EXISTS __agents_usage_by_day",
    "DROP TABLE IF EXISTS __agents_usage_by_session",
    "DROP TABLE IF EXISTS __agents_sub_sessions",
    "DROP TABLE IF EXISTS __agents_runs",
    "DROP TABLE IF EXISTS __agents_staged_changes",
    "DROP TABLE IF EXISTS __agents_fences",
    "DROP TABLE IF EXISTS __agents_checkpoints",
    "DROP TABLE IF EXISTS __agents_message_blocks",
    "DROP TABLE IF EXISTS __agents_usage",
    "DROP TABLE IF EXISTS __agents_states",
    "DROP TABLE IF EXISTS __agents_schema",
    "DROP TRIGGER IF EXISTS __agents_recorded_once",
)

# -> (type) of the user's own `d1_migrations`, where it cannot hold wrangler's record of the applied files
_OTHER_RECORD = Statement(
    """
    SELECT type
    FROM sqlite_master
    WHERE name = 'd1_migrations'
      AND (type <> 'table' OR NOT EXISTS (SELECT 1 FROM pragma_table_info('d1_migrations') WHERE name = 'name'))
    """
)

# ?1 JSON list of file names
_FORGET_FILES: LiteralString = """
    DELETE FROM d1_migrations
    WHERE name IN (SELECT value FROM json_each(?1))
"""

_COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)
_STATEMENT_END = re.compile(r";\s*\n\s*\n")


def migration_text(name: str) -> str:
    """Return the text of one migration file."""
    return resources.files("agents_store_cloudflare").joinpath("migrations", name).read_text(encoding="utf-8")


SCHEMA_MIGRATION_V1: str = migration_text(MIGRATION_FILES[0])
"""The SQL of version 1: the two documented tables."""


async def run_migration(database: object) -> int:
    """Bring the database to the current schema. It may be called on every request, and from several isolates at once.

    When the schema is current this reads one row and writes nothing.

    Args:
        database: a D1 binding, raw or as the SDK wraps it, or a `Database`.

    Returns:
        The version, `CURRENT_SCHEMA_VERSION`.

    Raises:
        MigrationError: the database is newer than this code, and nothing was written; or a statement failed.

    Cost: 1-4 D1 batches (1-567 rows read, 0-135 written).
    """
    db = as_database(database)
    for _ in range(_ATTEMPTS):
        version = await get_agents_migration_version(db)
        if version == CURRENT_SCHEMA_VERSION:
            return version
        if version > CURRENT_SCHEMA_VERSION:
            raise MigrationError(
                f"the database has schema version {version}, this code knows {CURRENT_SCHEMA_VERSION}; "
                "deploy the newer agents-store-cloudflare"
            )
        await _apply_after(db, version)
    raise MigrationError(f"the schema did not settle in {_ATTEMPTS} attempts; is something else changing it?")


async def _apply_after(db: Database, version: int, *, is_recorded: bool = True) -> None:
    """Apply all missing files in one transaction. If another caller was faster, the call succeeds too.

    A database whose own `d1_migrations` is not wrangler's gets no record of the files.
    """
    statements = [
        Statement(sql) for name in MIGRATION_FILES[version:] for sql in split_statements(migration_text(name))
    ]
    try:
        await db.batch([each for each in statements if is_recorded or "d1_migrations" not in each.sql])
    except SqlError as error:
        if not (error.transient or error.constraint in {"PRIMARYKEY", "UNIQUE"}):
            if is_recorded and await has_other_record(db):
                await _apply_after(db, version, is_recorded=False)
                return
            raise MigrationError(
                f"schema version {version} could not be brought to {CURRENT_SCHEMA_VERSION}: {error}"
            ) from error


def split_statements(text: str) -> list[LiteralString]:
    """Return the statements of a migration file. Each ends with a semicolon before an empty line."""
    # The files are part of the package: their text is as constant as the SQL in the modules.
    plain = _COMMENT.sub("", text) + "\n\n"
    return [cast("LiteralString", part.strip()) for part in _STATEMENT_END.split(plain) if part.strip()]


async def get_agents_migration_version(database: object) -> int:
    """Return the schema version of the database; 0 if it has no table of the package.

    Cost: 1 D1 batch (1 row read).
    """
    db = as_database(database)
    try:
        [[row]] = await batch_with_retry(db, [_CLAIMED_VERSION])
        if isinstance(row[0], int):
            return row[0]
    except SqlError as error:
        if not error.is_missing_table():
            raise MigrationError(f"the schema version could not be read: {error}") from error
    [[count]] = await _read(db, _DOCUMENTED_TABLES)
    return 1 if count == [2] else 0


async def _read(db: Database, statement: Statement) -> list[list[Row]]:
    try:
        return await batch_with_retry(db, [statement])
    except SqlError as error:
        raise MigrationError(f"the schema could not be read: {error}") from error


async def has_other_record(db: Database) -> bool:
    """Return whether the user has a table or view `d1_migrations` that is not wrangler's."""
    [rows] = await _read(db, _OTHER_RECORD)
    return bool(rows)


async def is_migrated(database: object) -> bool:
    """Return whether the database has the schema that this code needs.

    Cost: 1 D1 batch (1 row read).
    """
    return await get_agents_migration_version(database) == CURRENT_SCHEMA_VERSION


async def get_agents_table_names(database: object) -> list[str]:
    """Return the names of `TABLE_NAMES` that exist, in that order.

    Cost: 1 D1 batch (82 rows read).
    """
    [rows] = await _read(as_database(database), Statement(_EXISTING_TABLES, (_json_list(TABLE_NAMES),)))
    existing = {row[0] for row in rows}
    return [name for name in TABLE_NAMES if name in existing]


async def drop_all_tables(database: object) -> None:
    """Drop every table of the package with all its data, and delete the files' names from wrangler's table.

    Only a backup brings them back.

    Cost: 1 D1 batch (1190 rows read, 7 written).
    """
    db = as_database(database)
    try:
        await db.batch([Statement(_FORGET_FILES, (_json_list(RECORDED_FILES),)), *map(Statement, _DROPS)])
    except SqlError as error:
        if not (error.is_missing_table() or await has_other_record(db)):
            raise MigrationError(
                f"the tables could not be dropped: {error}", outcome_unknown=error.transient
            ) from error
        await db.batch([Statement(sql) for sql in _DROPS])


def _json_list(names: tuple[str, ...]) -> str:
    return '["' + '","'.join(names) + '"]'
