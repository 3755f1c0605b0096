"""Every SQL constant: prepares against the migrated schema, and reaches its rows by key or index, not by reading a table."""

import importlib
import pkgutil
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

import agents_store_cloudflare
from agents_store_cloudflare.migrations import MIGRATION_FILES, migration_text

PACKAGES = (
    "state",
    "usage",
    "transfer",
    "console",
    "homes",
    "adapters.langgraph",
    "adapters.pydantic_ai",
    "adapters.a2a",
)
STATEMENTS = ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")
KINDS = {"INSERT INTO", "DELETE FROM"}
"""They name kinds of statements."""
ONE_ROW_VIEW = "__agents_next_session_no"
SCANS_THAT_ARE_MEANT = {  # operators' calls, which say so
    *(f"transfer.budgets_sql.{name}[{index}]" for name in ("DELETE_TREE", "SELECT_TREE") for index in range(3)),
    "transfer.import_sql.SELECT_HOMES[0]",
    "adapters.langgraph.deleting_sql.THREADS_OF_RUNS[0]",
    "adapters.langgraph.reading_sql.LINES_OF_PAGE[0]",
    "adapters.langgraph.reading_sql.SELECT_PAGE[0]",
    "adapters.pydantic_ai.conversation_sql.SELECT_ALL[0]",
    "usage.sql.FIND_SESSIONS[0]",
    "usage.budget_sql.COUNT_OLD_SETTLEMENTS[0]",
    "usage.budget_sql.DELETE_OLD_SETTLEMENTS[0]",
    "usage.deletion_sql.DELETE_OLD_COMMITS[0]",
    *(f"usage.deletion_sql.CLEAR_TOTALS[{index}]" for index in range(3)),
}


def test_the_length_of_a_key_range_has_one_name() -> None:
    """2^24 stands once in the sources, migrations apart: all keys of messages and checkpoints are made of that constant."""
    sources = [file for root in agents_store_cloudflare.__path__ for file in Path(root).rglob("*.py")]
    lines = [line for file in sources for line in file.read_text(encoding="utf-8").splitlines()]
    written = [line for line in lines if re.search("1677721[56]|16_777_21[56]", line)]
    assert written == ['KEYS_PER_SESSION: LiteralString = "16777216"']


def _constants() -> Iterator[tuple[str, str]]:
    """Return the module-level SQL texts of the D1 roles. test_object_statements.py prepares those of the Durable Objects."""
    for package in PACKAGES:
        path = [f"{root}/{package.replace('.', '/')}" for root in agents_store_cloudflare.__path__]
        for module in pkgutil.iter_modules(path):
            loaded = importlib.import_module(f"agents_store_cloudflare.{package}.{module.name}")
            for name, value in vars(loaded).items():
                if name.isupper() and not name.startswith("_"):  # a private one is a part of others
                    for index, text in enumerate(_texts(value)):
                        yield f"{package}.{module.name}.{name}[{index}]", text


def _texts(value: object) -> list[str]:
    candidates = cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,)
    texts = [text for text in candidates if isinstance(text, str) and text not in KINDS]
    return [text for text in texts if text.lstrip().startswith(STATEMENTS)]


@pytest.fixture(scope="module")
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    for name in MIGRATION_FILES:
        connection.executescript(migration_text(name))
    yield connection
    connection.close()


@pytest.mark.parametrize(("name", "sql"), list(_constants()), ids=lambda value: value if "." in value[:20] else "")
def test_no_statement_scans_a_table(connection: sqlite3.Connection, name: str, sql: str) -> None:
    """Each statement prepares; its plan reads tables of ours by SEARCH only."""
    count = max((number for number in range(1, 101) if f"?{number}" in sql), default=0)
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", [None] * count)]
    scans = [
        step
        for step in plan
        if step.startswith("SCAN") and ("__agents" in step or step.split()[1] in {"s", "b", "c", "child"})
    ]
    scans = [step for step in scans if "VIRTUAL TABLE" not in step and ONE_ROW_VIEW not in step]
    assert scans == [] or name in SCANS_THAT_ARE_MEANT, plan


@pytest.mark.parametrize(("name", "sql"), list(_constants()), ids=lambda value: value if "." in value[:20] else "")
def test_each_column_has_a_name_of_its_own(connection: sqlite3.Connection, name: str, sql: str) -> None:
    """D1 returns rows as objects: of two columns with one name only the last one arrives."""
    count = max((number for number in range(1, 101) if f"?{number}" in sql), default=0)
    if not sql.lstrip().startswith(("SELECT", "WITH")) or "'agents-store '" in sql:
        return  # a guard has one column, and raises here
    found = connection.execute(sql, [0] * count).description or ()
    names = [column[0] for column in found]
    assert len(names) == len(set(names)), name
