"""Every SQL constant of the Durable Objects: prepares against the tables of its object, and reaches rows by key or index."""

import sqlite3
from collections.abc import Iterator
from types import ModuleType
from typing import cast

import pytest

from agents_store_cloudflare.durable_streams import sql as forks_sql
from agents_store_cloudflare.durable_streams.subscriptions import sql as subscriptions_sql
from agents_store_cloudflare.streams import sql as streams_sql

STATEMENTS = ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")
OBJECTS: dict[str, ModuleType] = {"streams": streams_sql, "forks": forks_sql, "subscriptions": subscriptions_sql}
TABLES = {"blocks", "forks", "incoming", "subscriptions", "links", "streams", "settings", "told"}
SCANS_THAT_ARE_MEANT = {
    "streams.SELECT_WRITERS",  # once in an object's life, at the first append
    "forks.SELECT_FORK_COUNT",  # stops at its LIMIT
    "forks.SELECT_TOLD",  # one row at most, once in an object's life
    "forks.SELECT_INCOMING_LATEST",  # one row, from the end of the key
    "subscriptions.SELECT_SUBSCRIPTIONS",  # once in an object's life
    "subscriptions.SELECT_UNCHECKED",  # once an hour
    "subscriptions.DELETE_GONE",  # once an hour
    "subscriptions.SELECT_SILENT",  # after a new subscription or a new stream of one, until nothing is left
    "subscriptions.SELECT_STREAMS",  # for a new pattern, which may match every stream
}


def _constants(module: ModuleType) -> Iterator[tuple[str, str]]:
    for name, value in vars(module).items():
        if name.isupper() and not name.startswith("_"):
            texts = cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,)
            yield from ((name, text) for text in texts if isinstance(text, str))


def _tables(module: ModuleType) -> list[str]:
    return [text for _, text in _constants(module) if text.lstrip().startswith("CREATE TABLE")]


def _statements() -> Iterator[tuple[str, str, str]]:
    for part, module in OBJECTS.items():
        for name, text in _constants(module):
            if text.lstrip().startswith(STATEMENTS):
                yield part, name, text


@pytest.fixture(scope="module")
def connections() -> Iterator[dict[str, sqlite3.Connection]]:
    """Return, for each part, a database with the tables that its constants create."""
    made = {part: sqlite3.connect(":memory:") for part in OBJECTS}
    for part, connection in made.items():
        for text in _tables(OBJECTS[part]):
            connection.executescript(text)
    yield made
    for connection in made.values():
        connection.close()


def test_the_constants_are_found() -> None:
    """Each part has tables and statements, so a moved module cannot empty this test."""
    parts = [part for part, _, _ in _statements()]
    assert all(_tables(module) for module in OBJECTS.values())
    assert {part: parts.count(part) > 3 for part in OBJECTS} == dict.fromkeys(OBJECTS, True)


@pytest.mark.parametrize(
    ("part", "name", "sql"), list(_statements()), ids=lambda value: value if len(value) < 40 else ""
)
def test_no_statement_scans_a_table(connections: dict[str, sqlite3.Connection], part: str, name: str, sql: str) -> None:
    """Each statement prepares; its plan reads the object's tables by SEARCH only, or the list above says why it scans."""
    count = max((number for number in range(1, 101) if f"?{number}" in sql), default=0)
    plan = [row[3] for row in connections[part].execute(f"EXPLAIN QUERY PLAN {sql}", [None] * count)]
    scans = [step for step in plan if step.startswith("SCAN") and step.split()[1] in TABLES]
    assert bool(scans) == (f"{part}.{name}" in SCANS_THAT_ARE_MEANT), plan
