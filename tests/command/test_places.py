"""Which database is meant, and what is said when it is not clear; `migrate`."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.migrations import CURRENT_SCHEMA_VERSION, MIGRATION_FILES, migration_text, split_statements
from agents_store_cloudflare.testing import SqliteDatabase
from tests.command.conftest import Outcome
from tests.command.d1_api_stub import ACCOUNT, DATABASE, TOKEN, D1ApiStub, Planned

Command = Callable[..., Outcome]
FILES = Path("v3/d1/miniflare-D1DatabaseObject")


@pytest.fixture
def state(tmp_path: Path, file: Path, filled: SqliteDatabase, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Worker's folder with wrangler's state: a database of this package, one of somebody else, the runtime's own file."""
    filled.close()
    folder = tmp_path / "worker/.wrangler/state" / FILES
    folder.mkdir(parents=True)
    shutil.copy(file, folder / "aaaa.sqlite")
    SqliteDatabase(folder / "bbbb.sqlite").close()
    SqliteDatabase(folder / "metadata.sqlite").close()
    monkeypatch.chdir(tmp_path / "worker")
    return folder


def test_it_is_found(command: Command, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is found in the Worker's folder without an option, and elsewhere with wrangler's options."""
    here = command("sessions")
    assert here.status == 0
    assert "planner" in here.out
    monkeypatch.chdir(tmp_path)
    assert command("sessions", "--persist-to", "worker/.wrangler/state") == here


def test_several(command: Command, state: Path) -> None:
    """All databases with the tables are listed, and the user has to name one."""
    shutil.copy(state / "aaaa.sqlite", state / "cccc.sqlite")
    done = command("sessions")
    assert (done.status, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert "2 databases hold this package's tables" in done.err
    assert "aaaa.sqlite" in done.err
    assert "cccc.sqlite" in done.err
    assert "bbbb.sqlite" not in done.err
    assert command("sessions", "--database", state / "cccc.sqlite").status == 0


def test_none(command: Command, state: Path) -> None:
    """A single database is used, and its schema is missing. Several are listed. With none the error names the searched folder."""
    (state / "aaaa.sqlite").unlink()
    one = command("sessions")
    assert (one.status, one.out) == (1, "")
    assert "has no tables of ours; `migrate`" in one.err
    SqliteDatabase(state / "dddd.sqlite").close()
    assert "none of 2 databases holds this package's tables" in command("sessions").err
    shutil.rmtree(state)
    nowhere = command("sessions")
    assert nowhere.status == 2
    assert f"no local D1 database in .wrangler/state/{FILES}" in nowhere.err


def test_what_is_no_database(command: Command, tmp_path: Path) -> None:
    """Another file and a missing file are refused, and no file is made."""
    (tmp_path / "page.html").write_text("<html>" * 10)
    assert "is no SQLite database" in command("doctor", "--database", tmp_path / "page.html").err
    assert "there is no file" in command("migrate", "--database", tmp_path / "gone.sqlite").err
    assert not (tmp_path / "gone.sqlite").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sessions", "--remote", "--database", "x"], "--remote is not"),
        (["sessions", "--database", "x", "--persist-to", "y"], "not both"),
        (["sessions", "--database-id", "x"], "go with --remote"),
        (["sessions", "--remote"], "CLOUDFLARE_API_TOKEN in the environment"),
        (["sessions", "--limit", "-1"], "no whole number"),
        (["sessions", "--limit", "9" * 20], "a number of 20 digits is too large"),
        (["sessions", "--colour"], "unrecognized arguments: --colour"),
        (["fly"], "invalid choice: 'fly'"),
        ([], "COMMAND"),
        (["migrations"], "COMMAND"),
    ],
    ids=str,
)
def test_bad_arguments(command: Command, arguments: list[str], words: str) -> None:
    """Bad arguments give status 2 and one line."""
    done = command(*arguments)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert words in done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--limit", "0"], "limit is 0"),
        (["--cursor", "nonsense"], "cursor is not from this list"),
        (["--parent", "__x"], "begins with '__'"),
    ],
)
def test_arguments_that_the_store_refuses(
    command: Command, file: Path, migrated: SqliteDatabase, arguments: list[str], words: str
) -> None:
    """Arguments that the store refuses are bad arguments too."""
    done = command("sessions", "--database", file, *arguments)
    assert done.status == 2
    assert words in done.err


def test_a_remote_that_refuses(
    command: Command, stub: D1ApiStub, monkeypatch: pytest.MonkeyPatch, no_pauses: None
) -> None:
    """One line has the API's text and a hint, and never the token."""
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "another" + TOKEN)
    remote = ("--remote", "--account-id", ACCOUNT, "--database-id", DATABASE, "--api-url", stub.url)
    refused = command("sessions", *remote)
    assert refused.status == 1
    assert "Authentication error (code 10000); the token needs the permission D1" in refused.err
    stub.planned += [Planned(status=503)] * 4
    down = command("doctor", *remote)
    assert (down.status, down.err.count("\n")) == (1, 1)
    assert TOKEN not in refused.err + down.err


def test_migrate(command: Command, file: Path) -> None:
    """`migrate` brings any version to the current one. A dry run only says so, and a second run has nothing to do."""
    SqliteDatabase(file).close()
    file.touch()
    dry = command("migrate", "--database", file, "--dry-run")
    files = ", ".join(MIGRATION_FILES)
    assert dry.out == f"{file}: schema version 0 -> {CURRENT_SCHEMA_VERSION}, would apply {files}\n"
    done = command("migrate", "--database", file)
    assert done == Outcome(0, f"{file}: schema version 0 -> {CURRENT_SCHEMA_VERSION}, applied {files}\n", "")
    again = command("migrate", "--database", file)
    assert again.out == f"{file}: schema version {CURRENT_SCHEMA_VERSION} is current\n"
    body: dict[str, object] = {
        "from": CURRENT_SCHEMA_VERSION,
        "to": CURRENT_SCHEMA_VERSION,
        "files": [],
        "dryRun": False,
    }
    assert command("migrate", "--database", file, "--json").json() == body


@pytest.fixture
async def version_2(file: Path) -> SqliteDatabase:
    database = SqliteDatabase(file)
    for name in MIGRATION_FILES[:2]:
        await database.batch([Statement(sql) for sql in split_statements(migration_text(name))])
    return database


def test_an_older_schema(command: Command, file: Path, version_2: SqliteDatabase) -> None:
    """Reading commands name `migrate`, and `migrate` works."""
    for arguments in (["sessions"], ["show", "s"], ["usage"], ["export", "--all"]):
        done = command(*arguments, "--database", file)
        assert (done.status, done.out) == (1, "")
        assert "schema version 2, older than" in done.err
    assert "schema_version" in command("doctor", "--database", file, "--json").out
    assert command("migrate", "--database", file, "--json").json()["files"] == list(MIGRATION_FILES[2:])
    assert command("doctor", "--database", file).status == 0


@pytest.fixture
async def newer(migrated: SqliteDatabase) -> SqliteDatabase:
    await migrated.batch([Statement("INSERT INTO __agents_schema (version, name) VALUES (99, 'later')")])
    return migrated


@pytest.mark.parametrize("arguments", [["sessions"], ["migrate"], ["migrate", "--dry-run"], ["doctor"]], ids=" ".join)
def test_a_newer_schema(command: Command, file: Path, newer: SqliteDatabase, arguments: list[str]) -> None:
    """No command changes a newer schema."""
    done = command(*arguments, "--database", file)
    assert done.status == 1
    assert "install the newer agents-store-cloudflare" in done.out + done.err


def test_the_package_does_not_load_it() -> None:
    """A Worker that imports the package loads neither the command nor its dependencies."""
    code = "import sys, agents_store_cloudflare as p; [getattr(p, n) for n in p.__all__ if not n.endswith('Server')]; print(*sys.modules)"
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run([sys.executable, "-c", code], env=unmeasured, capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert not [name for name in loaded if name.startswith("agents_store_cloudflare.command")]
    assert not {"argparse", "sqlite3", "urllib.request", "http.client"} & set(loaded)


@pytest.mark.parametrize("reader", ["head -1", "true"])
def test_a_reader_that_has_seen_enough(file: Path, filled: SqliteDatabase, reader: str) -> None:
    """`export | head -1` ends without an error, and so does an export that nobody reads."""
    command = f"{sys.executable} -m agents_store_cloudflare export --all --database {file} | {reader}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.startswith('{"type": "export"') == (reader != "true")
    assert done.stderr == ""
