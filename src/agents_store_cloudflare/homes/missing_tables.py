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

__all__ = ["EMPTY_TABLES", "changes_rows", "inserts_into", "statement_without"]

_TARGET = re.compile(r"^\s*(INSERT INTO|UPDATE|DELETE FROM)\s+(\w+)", re.MULTILINE)
_READ = re.compile(r"\b(FROM|JOIN)\s+(__agents_\w+)(\s+AS\s+\w+)?")
_NAME = re.compile(r"CREATE (?:TABLE|VIEW) (\w+)")
_COLUMN = re.compile(r"^\s+(\w+) (?:TEXT|INTEGER)\b", re.MULTILINE)


@lru_cache(maxsize=500)
def changes_rows(sql: str) -> bool:
    """Return whether the statement may change a row."""
    return _TARGET.search(sql) is not None


@lru_cache(maxsize=500)
def inserts_into(sql: str) -> str | None:
    """Return the table that the statement inserts into, or None."""
    found = _TARGET.search(sql)
    return found.group(2) if found is not None and found.group(1) == "INSERT INTO" else None


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
