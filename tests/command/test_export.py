"""`export`: everything, exactly, so that it can be loaded again."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents_store_cloudflare.command import session_parts
from agents_store_cloudflare.contract.state.records import AgentState
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing import SqliteDatabase
from agents_store_cloudflare.transfer import SessionCopy, export_session, lines_of
from agents_store_cloudflare.usage import D1UsageStore
from tests.command.conftest import HOSTILE, Outcome
from tests.homes.worlds import HomeWorld

Command = Callable[..., Outcome]


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MESSAGES_PAGE", "CHECKPOINTS_PAGE", "RUNS_PAGE", "ENTRIES_PAGE"):
        monkeypatch.setattr(session_parts, name, 1)


def _of(lines: list[Any], kind: str) -> list[Any]:
    return [line for line in lines if line["type"] == kind]


def test_all_of_a_session(command: Command, file: Path, filled: SqliteDatabase) -> None:
    """An export has a head, the state, every part in its order, and an end that counts them."""
    done = command("export", "trip", "--database", file)
    assert (done.status, done.err) == (0, "")
    lines = done.lines()
    kinds = ["export", "session", *["message"] * 121, *["checkpoint"] * 2, "run", "run", "reference", "stagedChange"]
    assert [line["type"] for line in lines] == [*kinds, "usage", "usage", *["row"] * 9, "end", "end"]
    assert lines[0]["format"] == 1
    assert [line["sequence"] for line in _of(lines, "message")] == list(range(121))
    assert {line["sessionId"] for line in lines[1:-1]} == {"trip"}
    counts = {
        "message": 121,
        "checkpoint": 2,
        "run": 2,
        "reference": 1,
        "stagedChange": 1,
        "usage": 2,
        "row": 9,
        "stream": 0,
        "chunks": 0,
    }
    end = {"type": "end", "sessionId": "trip", "lines": counts, "changed": False, "digest": lines[-2]["digest"]}
    assert lines[-2:] == [end, {"type": "end", "copies": 1}]


def test_pages_do_not_show(command: Command, file: Path, filled: SqliteDatabase, small_pages: None) -> None:
    """The export is the same with any page size, except for the head's time."""
    small = command("export", "trip", "--database", file).out.splitlines()[1:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session_parts, "MESSAGES_PAGE", 1000)
        assert command("export", "trip", "--database", file).out.splitlines()[1:] == small


def test_all_sessions(command: Command, file: Path, filled: SqliteDatabase) -> None:
    """Each session has its own end."""
    lines = command("export", "--all", "--database", file).lines()
    assert [line.get("sessionId") for line in _of(lines, "end")] == [HOSTILE, "trip/1", "trip", None]
    assert lines[-1] == {"type": "end", "copies": 3}


def test_exact_json(command: Command, file: Path, filled: SqliteDatabase) -> None:
    """Digits, floats, NUL, emoji, empty keys and the order of keys stay."""
    text = command("export", "trip", "--database", file).out
    wanted = {"big": 10**40, "whole": 1.0, "text": "é\0😀\x7f", "": None}
    assert f'"customState": {json.dumps(wanted)}'.replace("\x7f", r"\u007f") in text


@pytest.fixture
async def copied(command: Command, file: Path, filled: SqliteDatabase) -> SqliteDatabase:
    return await _new_database()


async def _new_database() -> SqliteDatabase:
    database = SqliteDatabase()
    await run_migration(database)
    return database


async def load(lines: list[Any], database: SqliteDatabase) -> None:
    """Load an export as docs/command.md describes it."""
    states, usage = D1StateStore(database), D1UsageStore(database)
    for line in lines:
        match line["type"]:
            case "session":
                await states.save(AgentState.from_dict({**line["state"], "version": 0}))
            case "message":
                await states.append_messages(line["sessionId"], [line["message"]])
            case "reference":
                await states.add_sub_session_refs(line["sessionId"], [line["reference"]])
            case "stagedChange":
                await states.stage_changes(line["sessionId"], line["stepId"], line["change"])
            case "usage":
                await usage.record_entry(line["entry"])
            case _:
                pass


@pytest.fixture
def exported(filled: SqliteDatabase, file: Path, command: Command) -> list[Any]:
    return command("export", "--all", "--database", file).lines()


async def test_it_can_be_loaded_again(exported: list[Any], filled: SqliteDatabase) -> None:
    """An empty database gets the same sessions, messages, references, staged changes and usage."""
    other = await _new_database()
    await load(exported, other)
    for session_id in ("trip", "trip/1", HOSTILE):
        pairs = [(D1StateStore(database), D1UsageStore(database)) for database in (filled, other)]
        [old, new] = [await states.load_state(session_id, required=True) for states, _ in pairs]
        for name in ("agent_type", "status", "custom_state", "messages", "parent_session_id", "extra", "stream_id"):
            assert json.dumps(getattr(new, name)) == json.dumps(getattr(old, name)), name
        for read in ("get_sub_session_refs", "get_staged_changes"):
            assert await getattr(pairs[1][0], read)(session_id) == await getattr(pairs[0][0], read)(session_id)
        assert await pairs[1][1].get_entries(session_id) == await pairs[0][1].get_entries(session_id)


def test_a_change_meanwhile(
    command: Command, file: Path, filled: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a session says if it was saved during the export."""
    plain = session_parts.runs_of

    async def runs_of(opened: Any, session_id: str) -> Any:
        await D1StateStore(filled).update_status(session_id, "running")
        async for run in plain(opened, session_id):
            yield run

    monkeypatch.setattr(session_parts, "runs_of", runs_of)
    done = command("export", "trip", "--database", file)
    assert done.lines()[-2]["changed"] is True
    assert done.err == "session 'trip' changed meanwhile; export it again\n"


@pytest.mark.parametrize("arguments", [[], ["trip", "--all"]])
def test_one_or_all(command: Command, file: Path, filled: SqliteDatabase, arguments: list[str]) -> None:
    """Neither option and both options are refused."""
    done = command("export", *arguments, "--database", file)
    assert (done.status, done.out) == (2, "")
    assert done.err == "error: export needs a SESSION or --all\n"


def test_a_missing_session(command: Command, file: Path, filled: SqliteDatabase) -> None:
    """Nothing is written for a missing session, not even a head."""
    done = command("export", "gone", "--database", file)
    assert (done.status, done.out) == (1, "")


async def _with_a_home(database: SqliteDatabase) -> SessionCopy:
    """Make a session in a home whose directory is in this database, and return its copy."""
    world = HomeWorld(database=database)
    store = await world.store()
    await store.state_store.create_session("ada", agent_type="x")
    await store.usage_store.record_tool("ada", tool_name="t", duration_ms=1, success=True)
    await world.pass_time(5)
    return await export_session(store, "ada")


def test_sessions_in_homes(command: Command, file: Path, filled: SqliteDatabase, tmp_path: Path) -> None:
    """TR-14: The command says which sessions it cannot reach, and never leaves them out without a word."""
    copy = asyncio.run(_with_a_home(filled))
    on = ("--database", file)
    for arguments in (("export", "ada"), ("show", "ada"), ("show", "ada", "--json")):
        done = command(*arguments, *on)
        assert (done.status, done.out) == (1, "")
        assert "lives in the Durable Object of home 'ada'" in done.err
        assert "docs/homes.md" in done.err
    done = command("export", "--all", *on)
    assert (done.status, done.out) == (1, "")
    assert "1 sessions live in homes" in done.err
    assert "export_all" in done.err
    whole = command("export", "--all", "--without-homes", *on)
    assert whole.status == 0
    assert '"ada"' not in whole.out
    for as_json in ((), ("--json",)):
        done = command("sessions", *as_json, *on)
        assert done.status == 0
        assert "not listed: 1 sessions that live in homes" in done.err
    (tmp_path / "copy").write_text("\n".join(lines_of([copy], now_ms=1)))
    for options in ((), ("--replace",)):
        done = command("import", tmp_path / "copy", *options, *on)
        assert (done.status, done.out) == (1, "")
        assert "lives in home 'ada', which only a Worker reaches" in done.err
    looked = command("doctor", *on)
    assert "usage entries of sessions that do not exist" not in looked.out
