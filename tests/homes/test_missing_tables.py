"""A home that has not every table yet."""

import sqlite3
from collections.abc import Iterator

import pytest

from agents_store_cloudflare.homes.missing_tables import (
    EMPTY_TABLES,
    changes_rows,
    inserts_into,
    names_made,
    statement_without,
)
from agents_store_cloudflare.homes.schema import BASE, CHILDREN, ELSEWHERE, LATER, OWN_TABLES, TABLES
from agents_store_cloudflare.migrations import MIGRATION_FILES, migration_text


@pytest.fixture
def home() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    for sql in (*BASE, CHILDREN, *(each for statements in LATER.values() for each in statements)):
        connection.execute(sql)
    yield connection
    connection.close()


@pytest.fixture
def d1() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    for name in MIGRATION_FILES:
        connection.executescript(migration_text(name))
    yield connection
    connection.close()


def _columns(connection: sqlite3.Connection, table: str) -> dict[str, tuple[object, ...]]:
    """Return type, not null, default and place in the key of each column."""
    rows = connection.execute(f"PRAGMA table_info({table})").fetchall()
    return {row[1]: row[2:] for row in rows}


OWN = {"__agents_states": {"session_no": ("INTEGER", 1, None, 0)}}
"""Where a home is stricter: no strangers insert rows without a number."""


NAMES = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view', 'index') AND sql IS NOT NULL"

NAMESAKES = TABLES - OWN_TABLES - ELSEWHERE.keys() - {"__agents_next_session_no"}


@pytest.mark.parametrize("table", sorted(NAMESAKES))
def test_columns_are_those_of_d1(home: sqlite3.Connection, d1: sqlite3.Connection, table: str) -> None:
    """HM-1: A home's tables have the same columns, types, defaults and keys as D1's."""
    expected = _columns(d1, table)
    assert expected
    assert _columns(home, table) == {**expected, **OWN.get(table, {})}


@pytest.mark.parametrize("table", sorted(TABLES - ELSEWHERE.keys()))
def test_what_stands_for_a_missing_table(home: sqlite3.Connection, table: str) -> None:
    """HM-1: A stand-in for a missing table has the table's columns and no rows. The view's stand-in has one row."""
    empty = home.execute(EMPTY_TABLES[table])
    there = home.execute(f"SELECT * FROM {table}")
    assert [column[0] for column in empty.description] == [column[0] for column in there.description]
    assert empty.fetchall() == there.fetchall()


@pytest.mark.parametrize("statements", [BASE, (CHILDREN,), *LATER.values()])
def test_the_names_that_statements_make(statements: tuple[str, ...]) -> None:
    """HM-1: A home knows the tables that it has made without reading their names."""
    connection = sqlite3.connect(":memory:")
    if statements is not BASE:
        for sql in BASE:
            connection.execute(sql)
    there = set(connection.execute(NAMES).fetchall())
    for sql in statements:
        connection.execute(sql)
    made = set(connection.execute(NAMES).fetchall()) - there
    connection.close()
    assert {(name,) for name in names_made(statements)} == made


def test_statements_without_their_tables() -> None:
    """HM-1: Reads of missing tables find nothing, and changes do nothing. Other tables do not change."""
    missing = frozenset({"__agents_runs"})
    joined = "SELECT r.run_id\nFROM __agents_states AS s\nLEFT JOIN __agents_runs AS r ON r.session_no = s.session_no"
    text = statement_without(missing, joined)
    assert text is not None
    assert "FROM __agents_states AS s" in text
    assert "__agents_runs" not in text
    assert statement_without(missing, "UPDATE __agents_runs\nSET status = ?1") is None
    assert statement_without(missing, "WITH a AS (SELECT 1)\nDELETE FROM __agents_runs\nWHERE 1") is None
    assert statement_without(missing, "DELETE FROM __agents_states\nWHERE 1") is not None
    assert inserts_into("INSERT INTO __agents_runs (a)\nVALUES (1)\nON CONFLICT DO UPDATE SET a = 1") == "__agents_runs"
    assert changes_rows("WITH a AS (SELECT 1)\nUPDATE x\nSET a = 1")
    assert not changes_rows("SELECT 1")
