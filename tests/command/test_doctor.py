"""`doctor`: each fault, made on purpose, is found and told apart; a sound database has none."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agents_store_cloudflare.command import doctor_sql
from agents_store_cloudflare.command.doctor_findings import COUNTS, LISTS
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.migrations import MIGRATION_FILES, migration_text
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing import SqliteDatabase
from tests.command.conftest import Outcome
from tests.command.d1_api_stub import ACCOUNT, DATABASE, TOKEN, D1ApiStub

Command = Callable[..., Outcome]

FIRST = "(SELECT session_no * 16777216 FROM __agents_states WHERE session_id = 'trip')"

FAULTS = {
    "unnumbered_sessions": "UPDATE __agents_states SET session_no = NULL WHERE session_id = 'trip/1'",
    "bad_values": "UPDATE __agents_states SET custom_state = '{' WHERE session_id = 'trip'",
    "blocks_without_session": "INSERT INTO __agents_message_blocks VALUES (16777216 * 99, 1, '{}')",
    "checkpoints_without_session": "UPDATE __agents_checkpoints SET id = 16777216 * 99 WHERE base_id IS NOT NULL",
    "parts_without_session": "UPDATE __agents_runs SET session_no = 99",
    "message_gaps": f"UPDATE __agents_message_blocks SET id = id + 1 WHERE id = {FIRST} + 120",
    "message_counts": "UPDATE __agents_states SET message_count = 122 WHERE session_id = 'trip'",
    "message_texts": f"UPDATE __agents_message_blocks SET body = body || char(9) || '1' WHERE id = {FIRST}",
    "checkpoints_above_messages": "UPDATE __agents_checkpoints SET message_count = 122 WHERE id % 16777216 = 2",
    "checkpoints_without_base": "DELETE FROM __agents_checkpoints WHERE id % 16777216 = 1",
    "missing_index": "DROP INDEX idx___agents_usage_session_id",
    "missing_trigger": "DROP TRIGGER __agents_numbered",
    "missing_view": "DROP VIEW __agents_messages",
    "missing_table": "DROP TABLE __agents_runs",
    "different_table": "ALTER TABLE __agents_usage ADD COLUMN mine TEXT",
    "unrecorded_files": "DELETE FROM d1_migrations WHERE name LIKE '0002%'",
}
BESIDE = {
    "message_gaps": {"message_counts"},
    "missing_table": {"missing_index"},
}
"""What else a fault must be."""


def _break(file: Path, sql: str) -> None:
    """Damage the database as somebody does who knows no rules."""
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(sql)


def _findings(done: Outcome, level: str) -> dict[str, Any]:
    return {finding["check"]: finding for finding in done.json()["findings"] if finding["level"] == level}


def test_a_sound_database(command: Command, file: Path, filled: SqliteDatabase) -> None:
    """An undamaged database has no problems and status 0. Usage of an existing session is no orphan."""
    done = command("doctor", "--database", file)
    version = len(MIGRATION_FILES)
    assert done == Outcome(0, f"{file}: schema version {version}\n0 problems\n", "")


@pytest.mark.parametrize("check", FAULTS)
def test_each_fault(command: Command, file: Path, filled: SqliteDatabase, check: str) -> None:
    """Each fault is found with its remedy and status 1, and only together with faults that belong to it."""
    _break(file, FAULTS[check])
    done = command("doctor", "--database", file, "--json")
    assert (done.status, done.err) == (1, "")
    problems = _findings(done, "problem")
    assert set(problems) == {check} | BESIDE.get(check, set())
    assert all(finding["remedy"] for finding in problems.values())
    assert command("doctor", "--database", file).out.count("\n  -> ") == len(done.json()["findings"])


@pytest.mark.parametrize("column", ["step_count", "resume_count", "version"])
def test_a_negative_counter(command: Command, file: Path, filled: SqliteDatabase, column: str) -> None:
    """A session with a negative counter can be read, but no call can save it. `doctor` names the column."""
    _break(file, f"UPDATE __agents_states SET {column} = -1 WHERE session_id = 'trip'")
    done = command("doctor", "--database", file)
    assert done.status == 1
    assert f"trip: {column} is no whole number from 0 to 2^53 - 1" in done.out


def test_every_listing_has_a_fault() -> None:
    """A check that no test provokes might find nothing at all."""
    assert {listing.check for listing in LISTS} <= set(FAULTS)


def test_an_overlap(command: Command, file: Path, filled: SqliteDatabase) -> None:
    """Gaps and overlaps are distinguished, with their places."""
    _break(file, FAULTS["message_gaps"])
    about = _findings(command("doctor", "--database", file, "--json"), "problem")["message_gaps"]["about"]
    assert about == ["trip: gap between 120 and 121"]
    _break(file, f"UPDATE __agents_message_blocks SET id = id - 4 WHERE id = {FIRST} + 121")
    about = _findings(command("doctor", "--database", file, "--json"), "problem")["message_gaps"]["about"]
    assert about == ["trip: overlap between 117 and 120"]


def test_the_remedy_for_an_index_works(command: Command, file: Path, filled: SqliteDatabase) -> None:
    """The statement of the remedy repairs the database."""
    for check in ("missing_index", "missing_trigger", "missing_view", "unrecorded_files", "blocks_without_session"):
        _break(file, FAULTS[check])
        remedy = _findings(command("doctor", "--database", file, "--json"), "problem")[check]["remedy"]
        _break(file, remedy.split(": ", 1)[1])
        assert command("doctor", "--database", file).status == 0


def test_many_are_cut_short(command: Command, file: Path, filled: SqliteDatabase) -> None:
    """Five are named, and the finding says that there are more."""
    for number in range(100, 107):
        _break(file, f"INSERT INTO __agents_message_blocks VALUES (16777216 * {number}, 1, '{{}}')")
    finding = _findings(command("doctor", "--database", file, "--json"), "problem")["blocks_without_session"]
    assert finding["about"] == [*(f"session number {number}" for number in range(100, 105)), "and more"]


@pytest.fixture
async def left_over(filled: SqliteDatabase) -> SqliteDatabase:
    """Make rows that are no fault: an expired session, and the rows that a deleted session leaves on purpose."""
    states = D1StateStore(filled)
    await states.update_status("trip", "running", fencing_token=7)
    await states.delete_session("trip", fencing_token=8)
    await filled.batch([Statement("UPDATE __agents_states SET expires_at = 5")])
    return filled


def test_notes(command: Command, file: Path, left_over: SqliteDatabase) -> None:
    """Notes are counted, have advice, and are no problems."""
    done = command("doctor", "--database", file, "--json")
    assert done.status == 0
    notes = _findings(done, "note")
    assert set(notes) == {count.check for count in COUNTS}
    assert notes["expired_sessions"]["text"].startswith("1 ")
    assert notes["fences_without_session"]["text"].startswith("1 ")
    assert notes["usage_without_session"]["text"].startswith("3 ")


def test_a_damaged_file(command: Command, file: Path, filled: SqliteDatabase) -> None:
    """SQLite's own check finds an overwritten page. The status is 1, even if other data can be read."""
    filled.close()
    with closing(sqlite3.connect(file)) as connection:
        [[page]] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'idx___agents_usage_kind'")
        [[size]] = connection.execute("PRAGMA page_size")
    with file.open("r+b") as content:
        content.seek((page - 1) * size)
        content.write(b"\xff" * size)
    done = command("doctor", "--database", file)
    assert done.status == 1
    assert "damaged" in done.out or "malformed" in done.err


def test_a_check_that_is_not_allowed(
    command: Command, filled: SqliteDatabase, stub: D1ApiStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If PRAGMA quick_check is refused, the finding is a note, and the other checks run."""
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", TOKEN)
    remote = ("--remote", "--account-id", ACCOUNT, "--database-id", DATABASE, "--api-url", stub.url)
    stub.forbidden = "quick_check"
    done = command("doctor", *remote, "--json")
    assert (done.status, set(_findings(done, "note"))) == (0, {"quick_check"})
    assert len(stub.requests) > len(LISTS)


def test_its_statements_prepare() -> None:
    """The statements can be prepared against the present schema, and they only read."""
    with closing(sqlite3.connect(":memory:")) as connection:
        for name in MIGRATION_FILES:
            connection.executescript(migration_text(name))
        for name in doctor_sql.__all__:
            sql = getattr(doctor_sql, name)
            assert sql.split()[0] in {"SELECT", "PRAGMA"}
            connection.execute(sql, [1] * ("?1" in sql))
