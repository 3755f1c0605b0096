"""`import`: an export comes back whole, or not at all."""

import asyncio
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from agents_store_cloudflare.contract.errors import InvalidArgumentError, SessionExistsError
from agents_store_cloudflare.contract.usage.budgets import Reservation
from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager
from agents_store_cloudflare.testing import LocalObjects, SqliteDatabase
from agents_store_cloudflare.transfer import SessionCopy, export_session, import_session, lines_of
from agents_store_cloudflare.usage import D1UsageStore
from tests.command.conftest import HOSTILE, Outcome

Command = Callable[..., Outcome]


def _comparable(text: str, *, versions: bool = True) -> list[Any]:
    """The lines of an export, without times, digests and the numbers of sessions."""
    lines = [json.loads(line) for line in text.splitlines()[1:]]
    for line in lines:
        line.pop("digest", None)
        row = line.get("row", {})
        row.update({name: 0 for name in ("session_no", "id", "base_id") if type(row.get(name)) is int})
        for facts in (row, line.get("state", {})):
            if not versions:
                facts.pop("version", None)
    return sorted(lines, key=lambda line: line.get("sessionId", ""))


def test_an_export_comes_back(
    command: Command, file: Path, filled: SqliteDatabase, empty: Path, tmp_path: Path
) -> None:
    """After export, import and export every line is the same. A second import is refused, with --replace it works."""
    text = command("export", "--all", "--database", file).out
    dump = tmp_path / "dump.jsonl"
    dump.write_text(text)
    assert command("import", dump, "--database", empty).status == 0
    assert _comparable(command("export", "--all", "--database", empty).out) == _comparable(text)
    refused = command("import", dump, "--database", empty)
    assert (refused.status, "--replace" in refused.err, "line 2" in refused.err) == (1, True, True)
    assert command("import", dump, "--database", empty, "--replace").status == 0
    replaced = command("export", "--all", "--database", empty).out
    assert _comparable(replaced, versions=False) == _comparable(text, versions=False)
    assert command("doctor", "--database", empty).status == 0


def test_sessions_keep_their_order(
    command: Command, file: Path, filled: SqliteDatabase, empty: Path, tmp_path: Path
) -> None:
    """`sessions` lists the newest first, before the export and after the import."""
    dump = tmp_path / "dump.jsonl"
    dump.write_text(command("export", "--all", "--database", file).out)
    command("import", dump, "--database", empty)
    listed = [command("sessions", "--json", "--database", each).json() for each in (file, empty)]
    assert listed[1]["sessions"] == listed[0]["sessions"]


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b"\n", b"\xef\xbb\xbf\r\n\r\n"])
def test_marks_and_empty_lines_at_the_beginning(  # noqa: PLR0917 - fixtures
    command: Command, file: Path, filled: SqliteDatabase, empty: Path, tmp_path: Path, before: bytes
) -> None:
    """Editors and shells of Windows put a byte order mark before a text, and end its lines with two characters."""
    text = command("export", "--all", "--database", file).out
    dump = tmp_path / "dump.jsonl"
    dump.write_bytes(before + text.replace("\n", "\r\n").encode())
    done = command("import", dump, "--database", empty)
    assert (done.status, done.err) == (0, "")
    assert _comparable(command("export", "--all", "--database", empty).out) == _comparable(text)


def test_a_pipe_is_read_once(command: Command, file: Path, filled: SqliteDatabase, empty: Path, tmp_path: Path) -> None:
    """`import <(zcat dump.gz)` names a pipe, which cannot be read twice."""
    text = command("export", "--all", "--database", file).out
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(pipe.write_text, text)
        done = command("import", pipe, "--database", empty)
        writing.result()
    assert (done.status, done.err) == (0, "")
    assert _comparable(command("export", "--all", "--database", empty).out) == _comparable(text)


Lines = list[str]
BAD: list[tuple[Callable[[Lines], Lines], str]] = [
    (lambda lines: ['{"type": "export", "format": 2}', *lines[1:]], "line 1"),
    (lambda lines: [*lines[:3], "{", *lines[4:]], "line 4"),
    (lambda lines: [*lines[:-4], *lines[-3:]], "another number of lines"),
    (lambda lines: lines[:-2], "ends within"),
    (lambda lines: lines[:-1], "without its last line"),
    (lambda lines: [*lines[:3], '{"type": "x"}', *lines[3:]], "line 4"),
]


@pytest.mark.parametrize(("change", "said"), BAD)
def test_a_bad_file_leaves_nothing(  # noqa: PLR0917 - fixtures
    command: Command, file: Path, filled: SqliteDatabase, empty: Path, tmp_path: Path, change: Any, said: str
) -> None:
    """The error names the line, and no session is stored."""
    dump = tmp_path / "dump.jsonl"
    dump.write_text("\n".join(change(command("export", "--all", "--database", file).out.splitlines())))
    done = command("import", dump, "--database", empty)
    assert (done.status, said in done.err) == (1, True), done.err
    assert command("sessions", "--database", empty).out == "no sessions\n"


async def test_the_library_call(filled: SqliteDatabase) -> None:
    """A copy holds versions, fences and checkpoints, and later writes continue from it."""
    other = SqliteDatabase()
    await run_migration(other)
    copy = json.loads(json.dumps(await export_session(filled, "trip")))
    await import_session(other, copy)
    with pytest.raises(SessionExistsError):
        await import_session(other, copy)
    with pytest.raises(InvalidArgumentError, match="format"):
        await import_session(other, {**copy, "format": 2}, replace=True)
    old, new = D1StateStore(filled), D1StateStore(other)
    for store in (old, new):
        await store.append_messages("trip", [{"role": "user", "content": "more"}], commit_id="one")
    [before, after] = [await store.load_state("trip", required=True) for store in (old, new)]
    assert (after.version, json.dumps(after.messages)) == (before.version, json.dumps(before.messages))
    pages = [await store.list_checkpoints("trip") for store in (old, new)]
    assert json.dumps([each.to_dict() for each in pages[0].items]) == json.dumps(
        [each.to_dict() for each in pages[1].items]
    )


def test_other_ids(command: Command, file: Path, filled: SqliteDatabase, empty: Path, tmp_path: Path) -> None:
    """TR-10: --rename gives sessions other ids. An invalid id is refused before anything is stored."""
    dump = tmp_path / "dump.jsonl"
    dump.write_text(command("export", "--all", "--database", file).out)
    options = ("--rename", "trip=tour", "--rename", "trip/1=tour/1", "--json")
    done = command("import", dump, "--database", empty, *options).json()
    assert done == {"imported": [HOSTILE, "tour/1", "tour"]}
    listed = command("sessions", "--json", "--database", empty).json()["sessions"]
    assert [(each["sessionId"], each["parentSessionId"]) for each in listed[1:]] == [("tour/1", "tour"), ("tour", None)]
    references = command("show", "tour", "--json", "--database", empty).json()["references"]
    assert [each["subSessionId"] for each in references] == ["tour/1"]
    for bad, said, status in (
        (["trip=__x"], "'__'", 1),
        (["trip=" + "x" * 600], "512", 1),
        (["trip=a", "trip/1=a"], "'a'", 2),
        (["trip=trip/1"], "'trip/1'", 2),
        (["none=x"], "'none'", 2),
        (["trip"], "OLD=NEW", 2),
        (["trip=a", "trip=b"], "twice", 2),
    ):
        named = [word for each in bad for word in ("--rename", each)]
        done = command("import", dump, "--database", empty, "--replace", *named)
        assert (done.status, said in done.err) == (status, True), done.err


def test_everything_refused_is_listed(
    command: Command, file: Path, filled: SqliteDatabase, empty: Path, tmp_path: Path
) -> None:
    """TR-3: All existing sessions are named with their lines, and no other session is stored."""
    dump, one = tmp_path / "dump.jsonl", tmp_path / "one.jsonl"
    dump.write_text(command("export", "--all", "--database", file).out)
    for session in ("trip", "trip/1"):
        one.write_text(command("export", session, "--database", file).out)
        assert command("import", one, "--database", empty).status == 0
    done = command("import", dump, "--database", empty)
    assert done.status == 1
    assert all(part in done.err for part in ("line 5: 'trip/1' exists", "'trip' exists", "nothing was stored"))
    assert HOSTILE not in command("sessions", "--database", empty, "--json").out


@pytest.fixture
async def reserved(filled: SqliteDatabase) -> Reservation:
    """Make two trees of budgets, a reservation, and the rows that a deleted session leaves."""
    usage = D1UsageStore(filled)
    await usage.set_budget("team", 100, "tokens")
    await usage.set_budget("trip", 50, "tokens", parent="team")
    await usage.set_budget("other", 5, "micros")
    await D1StateStore(filled).delete_session("trip/1")
    reserved = await usage.reserve("trip", 20, ttl=600)
    assert reserved is not None
    return reserved


def test_budgets_and_remains(  # noqa: PLR0917 - fixtures
    command: Command, file: Path, filled: SqliteDatabase, reserved: Reservation, empty: Path, tmp_path: Path
) -> None:
    """TR-11, TR-12: TR-12: --all has the rows that deleted sessions left. --budgets has the trees of scopes."""
    dump = tmp_path / "dump.jsonl"
    dump.write_text(command("export", "--all", "--budgets", "--database", file).out)
    done = command("import", dump, "--database", empty)
    assert done.out.splitlines()[:3] == ["imported budgets of 'team'", "imported budgets of 'other'", "imported trip/1"]
    one = command("export", "trip", "--budgets", "--database", file).lines()
    assert [line["root"] for line in one if line["type"] == "budgets"] == ["team"]
    refused = command("import", dump, "--database", empty)
    assert "scope 'other' has a budget already" in refused.err

    async def compare() -> None:
        old, new = D1UsageStore(filled), D1UsageStore(SqliteDatabase(empty))
        for scope in ("team", "trip", "other"):
            assert await new.get_budget(scope) == await old.get_budget(scope)
        assert (await new.get_rollup("trip/1")).to_dict() == (await old.get_rollup("trip/1")).to_dict()
        assert await new.release(reserved)

    asyncio.run(compare())


@pytest.fixture
async def with_stream(filled: SqliteDatabase) -> SessionCopy:
    """Return a copy with a stream."""
    manager = DurableObjectStreamManager(LocalObjects(StreamObject))
    async with manager.create_writer("trip", "agent", "x") as writer:
        await writer.write({"type": "text"})
    return await export_session(filled, "trip", streams=manager)


def test_streams_need_a_worker(
    command: Command, with_stream: SessionCopy, file: Path, empty: Path, tmp_path: Path
) -> None:
    """TR-7: The command cannot reach Durable Objects. It says so, and imports a file without its streams."""
    asked = command("export", "trip", "--streams", "--database", file)
    assert (asked.status, "only a Worker" in asked.err) == (2, True)
    dump = tmp_path / "dump.jsonl"
    dump.write_text("\n".join(lines_of([with_stream], now_ms=1)))
    refused = command("import", dump, "--database", empty)
    assert (refused.status, "--without-streams" in refused.err) == (1, True)
    assert command("import", dump, "--database", empty, "--without-streams").out == "imported trip\n"
