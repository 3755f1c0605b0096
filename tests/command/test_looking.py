"""`sessions`, `show` and `usage`: what a person sees, and what a program gets."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing import SqliteDatabase
from tests.command.conftest import HOSTILE, Outcome
from tests.command.d1_api_stub import ACCOUNT, DATABASE, TOKEN, D1ApiStub

Command = Callable[..., Outcome]


def test_sessions_as_a_table(command: Command, file: Path, filled: SqliteDatabase) -> None:
    """Each session is one line, the newest first, in aligned columns."""
    done = command("sessions", "--database", file)
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == [
        "session               agent type  status  version  messages  updated (UTC)        parent",
        r"a\u202eb\u2028c 日本  x           active        1         0  2026-09-21 14:13:20  -",
        "trip/1                helper      active        1         0  2026-09-21 14:13:20  trip",
        "trip                  planner     active        2       121  2026-09-21 14:13:20  -",
    ]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--prefix", "trip"], ["trip/1", "trip"]),
        (["--status", "failed"], []),
        (["--agent-type", "planner"], ["trip"]),
        (["--parent", "trip"], ["trip/1"]),
        (["--limit", "1"], [HOSTILE]),
    ],
)
def test_filters(command: Command, file: Path, filled: SqliteDatabase, options: list[str], found: list[str]) -> None:
    """Each filter is a filter of the store."""
    done = command("sessions", "--database", file, "--json", *options)
    assert [session["sessionId"] for session in done.json()["sessions"]] == found


def test_a_misspelt_status(command: Command, file: Path, filled: SqliteDatabase) -> None:
    """A status may be any text. When no session has it, people see which statuses there are."""
    done = command("sessions", "--database", file, "--status", "actve")
    assert done == Outcome(0, "no sessions; there are sessions with the statuses active\n", "")


def test_pages(command: Command, file: Path, filled: SqliteDatabase) -> None:
    """The cursor of a page leads to the next page. People see it too."""
    first = command("sessions", "--database", file, "--json", "--limit", 2).json()
    rest = command("sessions", "--database", file, "--json", "--cursor", first["nextCursor"]).json()
    assert [session["sessionId"] for session in rest["sessions"]] == ["trip"]
    assert rest["nextCursor"] is None
    assert f"--cursor {first['nextCursor']}" in command("sessions", "--database", file, "--limit", 2).out


def test_no_sessions(command: Command, file: Path, migrated: SqliteDatabase) -> None:
    """An empty database is no failure."""
    assert command("sessions", "--database", file) == Outcome(0, "no sessions\n", "")
    assert command("usage", "--database", file) == Outcome(0, "no usage\n", "")


def test_show_as_text(command: Command, file: Path, filled: SqliteDatabase) -> None:
    """`show` has the state, the last messages cut to the terminal's width, and the rows of the session."""
    done = command("show", "trip", "--database", file, "--messages", 2, "--checkpoints")
    assert done.status == 0
    lines = done.out.splitlines()
    assert lines[:3] == [
        "trip  planner  active",
        "  version 2, step 0, resumed 0 times",
        "  created 2026-09-21 14:13:20, updated 2026-09-21 14:13:20 (UTC)",
    ]
    assert "messages 119 to 120 of 121" in lines
    assert "  119  user: message 119" in lines
    [cut] = [line for line in lines if line.startswith("  120")]
    assert len(cut) == 80
    assert cut.endswith("x…")
    for part in ("runs, the latest first", "references", "staged changes", "checkpoints, the newest first"):
        assert part in lines
    assert [line.split()[1:3] for line in lines if " r1 " in line or " r2 " in line] == [
        ["r2", "running"],
        ["r1", "failed"],
    ]
    assert all(len(line) <= 80 for line in lines if line.startswith("  custom state"))


def test_show_as_json(command: Command, file: Path, filled: SqliteDatabase) -> None:
    """User JSON is exact, on one line of ASCII."""
    done = command("show", "trip", "--database", file, "--json", "--messages", 1)
    assert done.out.isascii()
    assert done.out.count("\n") == 1
    assert '"whole": 1.0' in done.out
    shown = done.json()
    assert shown["state"]["customState"] == {"big": 10**40, "whole": 1.0, "text": "é\0😀\x7f", "": None}
    assert shown["state"]["unknown"] == [1, 1.0]
    assert [message["sequence"] for message in shown["messages"]] == [120]
    assert [run["runId"] for run in shown["runs"]] == ["r2", "r1"]
    assert shown["references"][0]["subSessionId"] == "trip/1"
    assert shown["stagedChanges"][0]["stepId"] == "step-2"
    assert "checkpoints" not in shown


def test_show_what_is_not_there(command: Command, file: Path, filled: SqliteDatabase) -> None:
    """A missing session is a failure in one line."""
    assert command("show", "gone", "--database", file) == Outcome(
        1, "", "error: there is no session 'gone'; `sessions` lists all sessions\n"
    )


@pytest.fixture
async def hostile(migrated: SqliteDatabase) -> SqliteDatabase:
    """Make a session whose every text would move the cursor."""
    text = "\x1b[2J\x07\x9b31m\r\u202e"
    store = D1StateStore(migrated)
    await store.create_session("s", agent_type=text, initial_state={"k" + text: text})
    await store.append_messages("s", [{"role": "user" + text, "content": text}, {"role": "x", "other": text}])
    await store.update_status("s", text)
    return migrated


@pytest.mark.parametrize(
    "arguments", [["sessions"], ["show", "s"], ["show", "s", "--json"], ["export", "--all"], ["doctor"]], ids=" ".join
)
def test_no_control_characters(command: Command, file: Path, hostile: SqliteDatabase, arguments: list[str]) -> None:
    """The terminal gets no stored control character."""
    done = command(*arguments, "--database", file)
    assert done.status == 0
    assert all(character == "\n" or character.isprintable() for character in done.out + done.err)


def test_an_error_is_printable(command: Command, tmp_path: Path) -> None:
    """The terminal gets no control character of the arguments."""
    done = command("sessions", "--database", tmp_path / "\x1b[2J")
    assert done.status == 2
    assert done.err == rf"error: there is no file {tmp_path}/\x1b[2J" + "\n"


def test_usage_of_a_session(command: Command, file: Path, filled: SqliteDatabase) -> None:
    """`usage` has the sums by model and tool, with --tree also those of its children."""
    done = command("usage", "trip", "--database", file)
    assert done.out.splitlines() == [
        "trip: 2 entries, $1.234567",
        "from 2026-09-21 14:13:20 to 2026-09-21 14:13:20 (UTC)",
        "model  prompt  completion  reasoning  cached  total",
        "m-1     1,000          20          0     400  1,020",
        "tool    calls",
        "search      1",
    ]
    tree = command("usage", "trip", "--tree", "--database", file, "--json").json()
    assert tree["entryCount"] == 3
    assert tree["custom"]["pages"] == {"count": 1, "total": 10**30}


def test_usage_of_all(command: Command, file: Path, filled: SqliteDatabase) -> None:
    """`usage` has the totals by model or by another key, with filters."""
    done = command("usage", "--database", file)
    assert done.out.splitlines() == [
        "model  entries  calls  failed  prompt  completion  reasoning  cached  total  cost",
        "m-1          1      1       0   1,000          20          0     400  1,020  $1.234567",
    ]
    for by, key in (("day", "2026-09-21"), ("agent", "agent"), ("tool", "search")):
        totals = command("usage", "--database", file, "--by", by, "--json").json()
        assert (totals["by"], [each["key"] for each in totals["totals"]]) == (by, [key])
    for arguments in (["--agent", "nobody"], ["--first-day", "2026-09-22"], ["--last-day", "2026-09-20"]):
        assert command("usage", "--database", file, "--by", "day", *arguments) == Outcome(0, "no usage\n", "")


@pytest.mark.parametrize(
    "arguments", [["--tree"], ["trip", "--by", "day"], ["trip", "--last-day", "2026-09-20"], ["--first-day", "today"]]
)
def test_usage_options_that_would_mean_nothing(
    command: Command, file: Path, filled: SqliteDatabase, arguments: list[str]
) -> None:
    """Options without an effect are refused."""
    done = command("usage", "--database", file, *arguments)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)


def test_reading_commands_write_nothing(command: Command, file: Path, filled: SqliteDatabase) -> None:
    """Reading commands change no byte of the database."""
    filled.close()
    before = file.read_bytes()
    for arguments in (
        ["sessions"],
        ["show", "trip"],
        ["usage"],
        ["export", "--all"],
        ["doctor"],
        ["migrate", "--dry-run"],
    ):
        assert command(*arguments, "--database", file).status == 0
    assert file.read_bytes() == before


def test_the_same_over_http(
    command: Command, file: Path, filled: SqliteDatabase, stub: D1ApiStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command says the same about a remote database as about its file."""
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", TOKEN)
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", ACCOUNT)
    remote = ("--remote", "--database-id", DATABASE, "--api-url", stub.url)
    for arguments in (["sessions"], ["show", "trip", "--checkpoints"], ["usage", "--json"], ["migrate", "--json"]):
        assert command(*arguments, *remote) == command(*arguments, "--database", file)
    local, over_http = (command("export", "--all", *where).lines()[1:] for where in (("--database", file), remote))
    assert json.dumps(local) == json.dumps(over_http)
    assert command("doctor", *remote, "--json").json()["problems"] == 0
    assert all(authorization == f"Bearer {TOKEN}" for _, authorization, _ in stub.requests)
