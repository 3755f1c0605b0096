"""One bad value in any column of any table: the views go on, say what cannot be read, and `doctor` names it."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agents_store_cloudflare.command.row_rules import JSON_COLUMNS
from agents_store_cloudflare.testing import SqliteDatabase
from tests.command.conftest import Outcome
from tests.lengths import length

Command = Callable[..., Outcome]

TEXTS = ("{", '"x"', "5", "[1]", '{"no": {"such": "field"}}', "\x1b[31mred\x1b[0m", "x" * 2_100_000, b"\x00\xff")
NUMBERS = ("abc", 1e300, 2**62, -(2**63), 1.5, b"\x00")
TABLES = (
    "__agents_states",
    "__agents_message_blocks",
    "__agents_checkpoints",
    "__agents_runs",
    "__agents_staged_changes",
    "__agents_sub_sessions",
    "__agents_usage_by_session",
    "__agents_usage_by_day",
)
KEYS = {"session_no", "session_id", "id"}
"""A row whose key is changed is another session's row, or nobody's."""

VIEWS = (
    ("sessions",),
    ("show", "trip", "--checkpoints", "--messages", "200"),
    ("usage", "trip"),
    ("usage", "trip", "--tree"),
    ("usage", "--by", "day"),
    ("usage", "--by", "model"),
    ("usage", "--by", "agent"),
)


def _changes() -> Iterator[tuple[str, str, object]]:
    with closing(sqlite3.connect(":memory:")) as empty:
        for sql in _migrations():
            empty.executescript(sql)
        for table in TABLES:
            for _, name, kind, *_ in empty.execute(f"PRAGMA table_info({table})").fetchall():
                values = NUMBERS if kind == "INTEGER" else TEXTS
                yield from ((table, name, value) for value in values if name not in KEYS)


def _migrations() -> list[str]:
    from agents_store_cloudflare.migrations import MIGRATION_FILES, migration_text

    return [migration_text(name) for name in MIGRATION_FILES]


CHANGES = [each for place, each in enumerate(_changes()) if place % length(5, 1) == 0]


@pytest.mark.parametrize(("table", "column", "value"), CHANGES, ids=lambda each: str(each)[:20])
def test_a_bad_value(  # noqa: PLR0917 - fixtures
    command: Command, file: Path, filled: SqliteDatabase, table: str, column: str, value: object
) -> None:
    """Each view shows the other values, and names a value that it cannot show, with status 1. `doctor` finds values that no call writes."""
    with closing(sqlite3.connect(file)) as connection, connection:
        changed = connection.execute(f"UPDATE OR IGNORE {table} SET {column} = ?", (value,)).rowcount
    unreadable = 0
    for view in VIEWS:
        done = command(*view, "--database", file)
        assert "\x1b" not in done.out + done.err
        assert (done.status, bool(done.err)) in {(0, False), (1, True)}
        assert "error: " not in done.err, (view, done.err)
        unreadable += done.status
        if done.status:
            assert f"unreadable: {table} (" in done.err
            assert command(*view, "--database", file, "--json").json()["unreadable"]
        if view[0] == "sessions":
            assert len(done.out.splitlines()) >= 4
    doctor = command("doctor", "--database", file)
    if unreadable or (changed and _is_bad(table, column, value)):
        assert doctor.status == 1
        assert f"rows of {table} with values" in doctor.out or "blocks of messages" in doctor.out


def _is_bad(table: str, column: str, value: object) -> bool:
    """Return whether no call can have written the value there."""
    never = isinstance(value, bytes | int | float) or value == "abc" or len(str(value)) > 2_000_000
    return never or (column in JSON_COLUMNS.get(table, {}) and str(value)[0] in "{\x1b" and value != TEXTS[4])
