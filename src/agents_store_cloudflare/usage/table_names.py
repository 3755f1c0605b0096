"""Names of a usage store's table: which names may stand in SQL, and statements for a table of another name."""

from __future__ import annotations

import re
from typing import LiteralString, cast

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.usage.options import DEFAULT_TABLE

__all__ = ["check_table_name", "for_table"]

RESERVED = ("__agents_", "sqlite_", "_cf_", "d1_", "idx_", "json_")
SUFFIXES = ("_by_session", "_by_day", "_kept", "_sub_sessions", "_parts", "_commits")
"""The ends of the names of a table's totals."""

# The keywords of https://www.sqlite.org/lang_keywords.html, and the names of parts of this package's statements.
_WORDS = """
    abort action add after all alter always analyze and as asc attach autoincrement before begin between by cascade case cast
    check collate column commit conflict constraint create cross current current_date current_time current_timestamp database
    default deferrable deferred delete desc detach distinct do drop each else end escape except exclude exclusive exists
    explain fail filter first following for foreign from full generated glob group groups having if ignore immediate in index
    indexed initially inner insert instead intersect into is isnull join key last left like limit match materialized natural
    no not nothing notnull null nulls of offset on or order others outer over partition plan pragma preceding primary query
    raise range recursive references regexp reindex release rename replace restrict returning right rollback row rows
    savepoint select set table temp temporary then ties to transaction trigger unbounded union unique update using vacuum
    values view virtual when where window with within without true false rowid oid counted tree limb given stored part total
    gone named child excluded
"""
WORDS = frozenset(_WORDS.split())

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


def check_table_name(name: str) -> str:
    """Return `name` if it is an identifier that needs no quotes.

    Raises:
        TypeError: it is not text.
        InvalidArgumentError: it is no such identifier, or it is reserved.
    """
    if not isinstance(cast("object", name), str):
        raise TypeError(f"table_name must be text, not {type(name).__name__}")
    if not _IDENTIFIER.fullmatch(name):
        raise InvalidArgumentError(
            "table_name must be letters, digits and underscores, at most 63, not beginning with a digit"
        )
    if name != DEFAULT_TABLE and name.lower().startswith(RESERVED):
        raise InvalidArgumentError(f"table_name begins with one of {', '.join(RESERVED)}, which are reserved")
    if name.lower() in WORDS:
        raise InvalidArgumentError(f"table_name {name!r} is a keyword of SQL; choose a longer name")
    if name.lower().endswith(SUFFIXES):
        raise InvalidArgumentError(
            f"table_name ends with one of {', '.join(SUFFIXES)}, which the names of totals end with"
        )
    return name


def for_table(sql: LiteralString, name: str) -> LiteralString:
    """Return the statement for the table `name`, which has passed `check_table_name`. Only this function puts a text into SQL."""
    checked = cast("LiteralString", name)  # type: ignore[redundant-cast]
    return sql if name == DEFAULT_TABLE else sql.replace(DEFAULT_TABLE, checked)
