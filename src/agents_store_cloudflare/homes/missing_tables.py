"""Statements for a home in which tables are missing: a missing table counts as an empty table.

So the SQL of the stores is the same for every home. The text of a statement shows which tables it needs, because all statements are
constants of this package with one clause a line.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Final, LiteralString, cast

from agents_store_cloudflare.homes.schema import BASE, ELSEWHERE, LATER

__all__ = [
    "DELETE",
    "EMPTY_TABLES",
    "INSERT",
    "change_of",
    "changes_rows",
    "inserts_into",
    "names_made",
    "statement_without",
]

INSERT: Final = "INSERT INTO"
DELETE: Final = "DELETE FROM"

_TARGET = re.compile(r"^\s*(INSERT INTO|UPDATE|DELETE FROM)\s+(\w+)", re.MULTILINE)
_READ = re.compile(r"\b(FROM|JOIN)\s+(__agents_\w+)(\s+AS\s+\w+)?")
_NAME = re.compile(r"CREATE (?:TABLE|VIEW|(?:UNIQUE )?INDEX)(?: IF NOT EXISTS)? (\w+)")
_COLUMN = re.compile(r"^\s+(\w+) (?:TEXT|INTEGER)\b", re.MULTILINE)


@lru_cache(maxsize=500)
def change_of(sql: str) -> tuple[str, str] | None:
    """Return what the statement does ("INSERT INTO", "UPDATE", "DELETE FROM") and its table, or None if it changes no row."""
    found = _TARGET.search(sql)
    return None if found is None else (found.group(1), found.group(2))


def changes_rows(sql: str) -> bool:
    """Return whether the statement may change a row."""
    return change_of(sql) is not None


def inserts_into(sql: str) -> str | None:
    """Return the table that the statement inserts into, or None."""
    change = change_of(sql)
    return change[1] if change is not None and change[0] == INSERT else None


@lru_cache(maxsize=100)
def names_made(statements: tuple[str, ...]) -> frozenset[str]:
    """Return the tables, views and indexes that statements of `schema.py` make."""
    return frozenset([found.group(1) for each in statements if (found := _NAME.search(each)) is not None])


@lru_cache(maxsize=500)
def statement_without(missing: frozenset[str], sql: str) -> LiteralString | None:
    """Return the statement for a home without these tables, or None if the statement has nothing to change."""
    target = _TARGET.search(sql)
    if target is not None and target.group(2) in missing:
        return None
    changed = _READ.sub(lambda found: _read(found, missing), sql)
    return cast("LiteralString", changed)  # type: ignore[redundant-cast]


def _read(found: re.Match[str], missing: Collection[str]) -> str:
    clause, name, alias = found.groups()
    if name not in missing:
        return found.group(0)
    return f"{clause} ({EMPTY_TABLES[name]}){alias or f' AS {name}'}"


def _empty_tables() -> Mapping[str, str]:
    """Table or view -> a query with its columns and no rows."""
    empty = {**ELSEWHERE, "__agents_next_session_no": "SELECT 1 AS next_no"}
    for sql in (*BASE, *(statements[0] for statements in LATER.values())):
        name = _NAME.search(sql)
        columns = ", ".join(f"NULL AS {column}" for column in _COLUMN.findall(sql))
        if name is not None and columns:
            empty[name.group(1)] = f"SELECT {columns} WHERE false"
    return empty


EMPTY_TABLES: Final = _empty_tables()
"""Table or view -> the query that replaces it when it is missing."""
