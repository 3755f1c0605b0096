"""Every SQL constant of a home's own object: prepares against the home's tables, and reaches rows by key or index."""

import importlib
import pkgutil
import sqlite3
from collections.abc import Iterator

import pytest

from agents_store_cloudflare import homes
from agents_store_cloudflare.homes import parts, schema

STATEMENTS = ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")
KINDS = {"INSERT INTO", "DELETE FROM"}
"""They name kinds of statements."""
IN_D1 = {"budgets", "directory_sql"}
"""Their statements run in D1. test_statements.py prepares the public ones."""

SCANS_THAT_ARE_MEANT = {
    "accounts._PUT_DELETIONS",  # a home has no index of expiries: it holds the sessions of one tree
    "accounts._HAS_WAITING",  # the rows that wait for about a second
    "outbox._WAITING",  # in the order of the key, and it stops at its LIMIT
    "parts._DROP_OLD",  # the requests in parts that are on their way
    "parts._IS_EMPTY",  # stops at the first row
    "projection._FORGET_ALL",  # an operator's call
    "tables._IS_KEPT",  # stops at the first row of each table
}


def _statements() -> Iterator[tuple[str, str]]:
    for module in pkgutil.iter_modules(homes.__path__):
        if module.name in IN_D1:
            continue
        for name, value in vars(importlib.import_module(f"{homes.__name__}.{module.name}")).items():
            if not name.isupper() or not isinstance(value, str) or value in KINDS:
                continue
            if value.lstrip().startswith(STATEMENTS):
                yield f"{module.name}.{name}", value


@pytest.fixture(scope="module")
def connection() -> Iterator[sqlite3.Connection]:
    """Return a database with every table that a home can have."""
    connection = sqlite3.connect(":memory:")
    for sql in (*schema.BASE, *(each for later in schema.LATER.values() for each in later), schema.CHILDREN):
        connection.execute(sql)
    connection.execute(vars(parts)["_MAKE"])
    yield connection
    connection.close()


def test_the_constants_are_found() -> None:
    """A moved module cannot empty this test."""
    modules = {name.split(".")[0] for name, _ in _statements()}
    assert {"accounts", "dead_turns", "followers", "outbox", "parts", "projection", "tables"} <= modules


@pytest.mark.parametrize(("name", "sql"), list(_statements()), ids=[name for name, _ in _statements()])
def test_no_statement_scans_a_table(connection: sqlite3.Connection, name: str, sql: str) -> None:
    """Each statement prepares; its plan reads the home's tables by SEARCH only, or the list above says why it scans."""
    count = max((number for number in range(1, 101) if f"?{number}" in sql), default=0)
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", [None] * count)]
    scans = [step for step in plan if step.startswith("SCAN") and step.split()[1].startswith("__agents_")]
    assert bool(scans) == (name in SCANS_THAT_ARE_MEANT), plan
