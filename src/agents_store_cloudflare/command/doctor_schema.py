"""Compares the schema of a database with the schema that the migrations make."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TypeAlias, cast

from agents_store_cloudflare.command import doctor_sql
from agents_store_cloudflare.command.doctor_findings import Finding
from agents_store_cloudflare.database import Database, SqlError, Statement, batch_with_retry
from agents_store_cloudflare.database.sqlite import SqliteDatabase
from agents_store_cloudflare.migrations import RECORDED_FILES, has_other_record, run_migration

__all__ = ["look_at_schema"]

Schema: TypeAlias = "Mapping[tuple[str, str], str]"

_COMMENT = re.compile(r"--[^\n]*")
_SPACE = re.compile(r"\s+")
_AROUND = re.compile(r"\s*([(),])\s*")


async def look_at_schema(database: Database) -> list[Finding]:
    """Return the differences between a database of the current version and one that was migrated just now."""
    with closing(SqliteDatabase()) as fresh:
        await run_migration(fresh)
        wanted = await _schema_of(fresh)
    present = await _schema_of(database)
    findings = [_missing(kind, name, wanted[kind, name]) for kind, name in wanted if (kind, name) not in present]
    findings += [
        _different(kind, name)
        for kind, name in wanted.keys() & present
        if _different_texts(wanted, present, (kind, name))
    ]
    if await has_other_record(database):
        return [each for each in findings if "__agents_recorded_once" not in each.text]
    recorded = await _recorded_files(database)
    if unrecorded := [name for name in RECORDED_FILES if name not in recorded]:
        findings.append(_unrecorded(unrecorded))
    return findings


async def _schema_of(database: Database) -> Schema:
    [rows] = await batch_with_retry(database, [Statement(doctor_sql.SCHEMA_OBJECTS)])
    return {(kind, name): sql for kind, name, sql in cast("list[list[str]]", rows)}


async def _recorded_files(database: Database) -> set[object]:
    try:
        [rows] = await batch_with_retry(database, [Statement(doctor_sql.RECORDED_FILES)])
    except SqlError as error:
        if error.is_missing_table():
            return set()
        raise
    return {row[0] for row in rows}


def _different_texts(wanted: Schema, present: Schema, key: tuple[str, str]) -> bool:
    return _plain(wanted[key]) != _plain(present[key])


def _plain(sql: str) -> str:
    """Return the statement without layout, comments and quotes. These depend on the tool that ran the file and on SQLite's version."""
    bare = _SPACE.sub(" ", _COMMENT.sub(" ", sql)).replace('"', "").replace("IF NOT EXISTS ", "")
    return _AROUND.sub(r"\1", bare).strip().lower()


def _missing(kind: str, name: str, sql: str) -> Finding:
    remedy = (
        "bring the database back with D1 Time Travel, or drop_all_tables and migrate anew"
        if kind == "table"
        else f"make it again: {_SPACE.sub(' ', sql)}"
    )
    return Finding(level="problem", check=f"missing_{kind}", text=f"the {kind} {name} is missing", remedy=remedy)


def _different(kind: str, name: str) -> Finding:
    return Finding(
        level="problem",
        check=f"different_{kind}",
        text=f"the {kind} {name} is not as the migrations make it",
        remedy="somebody changed it; compare it with the files that `migrations copy` gives",
    )


def _unrecorded(names: Sequence[str]) -> Finding:
    values = ", ".join(f"('{name}')" for name in names)
    tell = "INSERT OR IGNORE INTO d1_migrations (name) VALUES"
    return Finding(
        level="problem",
        check="unrecorded_files",
        text="applied, but not recorded in d1_migrations",
        about=tuple(names),
        remedy=f"tell wrangler, before it applies them again: {tell} {values}",
    )
