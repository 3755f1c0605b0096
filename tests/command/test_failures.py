"""What the command says when its surroundings or its data are not what it expects."""

import io
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agents_store_cloudflare.command.text import time_text
from agents_store_cloudflare.testing import SqliteDatabase
from tests.command.conftest import Outcome

Command = Callable[..., Outcome]


def test_a_reader_that_has_seen_enough(file: Path, filled: SqliteDatabase) -> None:
    """`… | head` ends the command without a traceback."""
    program = [sys.executable, "-m", "agents_store_cloudflare", "export", "--all", "--database", str(file)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        said = running.stderr.read()
    assert (running.returncode, said) == (1, b"")


def test_an_output_that_is_closed(file: Path, filled: SqliteDatabase) -> None:
    """`… >&-` ends the command without a traceback."""
    program = (
        f"{shlex.quote(sys.executable)} -m agents_store_cloudflare sessions --database {shlex.quote(str(file))} >&-"
    )
    ran = subprocess.run(["sh", "-c", program], capture_output=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")


@pytest.mark.parametrize(
    "asked",
    [
        ("show", "\udcff"),
        ("usage", "\udcff"),
        ("budgets", "\udcff"),
        ("export", "\udcff"),
        ("sessions", "--prefix", "\udcff"),
    ],
)
def test_an_argument_that_is_no_text(
    command: Command, file: Path, filled: SqliteDatabase, asked: tuple[str, ...]
) -> None:
    """A terminal may hand over any bytes. The stored data is not to blame."""
    answer = command(*asked, "--database", file)
    assert (answer.status, "holds a lone surrogate" in answer.err, answer.err.count("\n")) == (2, True, 1), answer


def test_rows_that_this_package_did_not_write(command: Command, file: Path, filled: SqliteDatabase) -> None:
    """One line names the fault, and the command that shows more."""
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE __agents_states SET custom_state = '{' WHERE session_id = 'trip'")
    connection.close()
    shown = command("show", "trip", "--database", file)
    assert shown.status == 1
    assert shown.err.count("\n") == 1
    assert "`doctor` shows more" in shown.err


@pytest.mark.parametrize("table", ["__agents_states", "__agents_checkpoints"])
def test_a_table_that_was_lost(  # noqa: PLR0917 - fixtures
    command: Command, file: Path, filled: SqliteDatabase, empty: Path, tmp_path: Path, table: str
) -> None:
    """The database is to blame, not the file that is imported, and no SQL of ours is shown."""
    dump = tmp_path / "dump.jsonl"
    dump.write_text(command("export", "trip", "--database", file).out)
    with sqlite3.connect(empty) as connection:
        connection.execute(f"DROP TABLE {table}")
    connection.close()
    for asked in (("import", dump), ("sessions",), ("show", "trip"), ("export", "trip")):
        answer = command(*asked, "--database", empty)
        if asked != ("sessions",) or table == "__agents_states":
            assert (answer.status, "syntax error" in answer.err, answer.err.count("\n")) == (1, False, 1), answer
    refused = command("import", dump, "--database", empty)
    assert f"the database has no table {table}" in refused.err


def test_a_file_that_is_no_database(command: Command, tmp_path: Path) -> None:
    """A file with other content is named; so is one that cannot be read."""
    other = tmp_path / "other.sqlite"
    other.write_text("no database " * 100)
    answer = command("sessions", "--database", other)
    assert (answer.status, "other.sqlite is no SQLite database" in answer.err) == (2, True), answer
    assert command("sessions", "--database", tmp_path).status != 0


def test_an_import_from_standard_input(
    command: Command, file: Path, filled: SqliteDatabase, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`export … | import -` copies. With --json the reading program gets the ids."""
    text = command("export", "trip", "--database", file).out
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    answer = command("import", "-", "--database", empty, "--json")
    assert answer.status == 0, answer
    assert answer.json() == {"imported": ["trip"]}


def test_an_import_of_bytes_that_are_no_text(command: Command, empty: Path, tmp_path: Path) -> None:
    """The error names the line."""
    dump = tmp_path / "dump.jsonl"
    dump.write_bytes(b"\xff\xfe\n")
    answer = command("import", dump, "--database", empty)
    assert (answer.status, "line 1: no UTF-8 text" in answer.err) == (1, True), answer


def test_sessions_without_messages(command: Command, file: Path, filled: SqliteDatabase) -> None:
    """`show` says that there are no messages. Checkpoints are shown on request."""
    assert "0 messages" in command("show", "trip/1", "--database", file).out
    shown = command("show", "trip", "--database", file, "--checkpoints", "--json").json()
    assert len(shown["checkpoints"]) == 2


def test_usage_of_custom_kinds(command: Command, file: Path, filled: SqliteDatabase) -> None:
    """A table has the counts and totals of custom entries of any size."""
    out = command("usage", "trip/1", "--database", file).out
    assert ("pages" in out, str(10**30) in out) == (True, True), out


@pytest.mark.parametrize("at_ms", [10**18, -(10**18)])
def test_times_that_no_calendar_has(at_ms: int) -> None:
    """Times outside the calendar are shown as they are stored."""
    assert time_text(at_ms) == str(at_ms)
