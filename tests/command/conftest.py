"""Databases that the package itself made, in files, and the command run on them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agents_store_cloudflare.__main__ import main
from agents_store_cloudflare.command.remote import RemoteDatabase
from agents_store_cloudflare.contract.state.records import AgentState, StagedChange, SubSessionRef
from agents_store_cloudflare.database import retry
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing import SqliteDatabase
from agents_store_cloudflare.usage import D1UsageStore
from tests.command.d1_api_stub import ACCOUNT, DATABASE, TOKEN, D1ApiStub, d1_api_stub

NOW_MS = 1_790_000_000_000
HOSTILE = "a\u202eb\u2028c 日本"
"""What an id may hold and a terminal should not get."""


@dataclass(frozen=True)
class Outcome:
    """The result of one run of the command."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """The command, as a person types it in a terminal of 80 columns; no token in the environment."""
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("CLOUDFLARE_API_TOKEN", "CLOUDFLARE_ACCOUNT_ID"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        try:
            status = main([*map(str, arguments)])
        except SystemExit as ended:  # argparse
            status = int(ended.code or 0)
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a test's database is."""
    return tmp_path / "d1.sqlite"


@pytest.fixture
async def migrated(file: Path) -> SqliteDatabase:
    """A database with the schema, in `file`; what is written to it is there for the command at once."""
    database = SqliteDatabase(file)
    await run_migration(database)
    return database


@pytest.fixture
async def empty(tmp_path: Path) -> Path:
    """The file of a database that has the schema and no session."""
    path = tmp_path / "empty.sqlite"
    database = SqliteDatabase(path)
    await run_migration(database)
    database.close()
    return path


@pytest.fixture
def stub(file: Path) -> Iterator[D1ApiStub]:
    """The HTTP API over `file`."""
    with d1_api_stub(file) as stub:
        yield stub


@pytest.fixture
def remote(stub: D1ApiStub) -> RemoteDatabase:
    """`file` over HTTP."""
    return RemoteDatabase(ACCOUNT, DATABASE, TOKEN, base_url=stub.url)


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come at once."""

    async def pause(attempt: int) -> None:
        assert attempt < retry.ATTEMPTS

    monkeypatch.setattr(retry, "pause_before_retry", pause)


@pytest.fixture
async def filled(migrated: SqliteDatabase) -> SqliteDatabase:
    """A parent with everything a session can have, its child, and one that is named to hurt terminals."""
    states, usage = D1StateStore(migrated, now_ms=lambda: NOW_MS), D1UsageStore(migrated, now_ms=lambda: NOW_MS)
    parent = AgentState(
        session_id="trip",
        agent_type="planner",
        custom_state={"big": 10**40, "whole": 1.0, "text": "é\0😀\x7f", "": None},
        messages=[{"role": "user", "content": f"message {number}"} for number in range(120)],
        extra={"unknown": [1, 1.0]},
    )
    await states.save_state("trip", parent)
    await states.save_checkpoint("trip", run_id="r1", stream_sequence=5)
    await states.append_messages("trip", [{"role": "assistant", "content": "x" * 12_000, "toolCalls": [{"id": "c1"}]}])
    await states.save_checkpoint("trip")
    await states.start_run("trip", "r1")
    await states.update_run("trip", "r1", status="failed", error="boom")
    await states.start_run("trip", "r2")
    await states.add_sub_session_refs("trip", [SubSessionRef(sub_session_id="trip/1", agent_type="helper")])
    change = StagedChange(tool_call_id="c1", merge_changes={"list": [1]}, timestamp=5)
    await states.stage_changes("trip", "step-2", change)
    await states.create_session("trip/1", agent_type="helper", parent_session_id="trip")
    await states.create_session(HOSTILE, agent_type="x")
    tokens = {"prompt": 1000, "completion": 20, "cached": 400}
    await usage.record_tokens("trip", model="m-1", tokens=tokens, id="e1", cost_micros=1_234_567)
    await usage.record_tool("trip", tool_name="search", duration_ms=12, success=True, id="e2")
    await usage.record_custom("trip/1", name="pages", value=10**30, id="e3")
    return migrated
