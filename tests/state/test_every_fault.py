"""Every write × every statement of its batches × {before, after}, and every reply lost: after the retry it has happened once."""

import asyncio
import json
import re
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias, cast

import pytest

from agents_store_cloudflare.contract.errors import D1StateError
from agents_store_cloudflare.contract.state.records import AgentState, Message, StagedChange, SubSessionRef
from agents_store_cloudflare.database import Statement, retry
from agents_store_cloudflare.migrations import TABLE_NAMES, run_migration
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing import FaultyDatabase, SqliteDatabase
from agents_store_cloudflare.testing.faults import LOST, Moment

NOW_MS = 1_700_000_000_000
MOMENTS: tuple[Moment, ...] = ("before", "after")
UNKNOWN = "internal error; reference = x"
Write: TypeAlias = Callable[[D1StateStore, AgentState], Awaitable[Any]]
# All with a fencing token higher than the one that is kept, and a commit id.
ONCE: dict[str, Any] = {"fencing_token": 6, "commit_id": "the one"}
FIRST, SECOND = (f"cpv1-s-s0-t{NOW_MS}-{number:06x}" for number in (1, 2))


def _grow(state: AgentState) -> None:
    state.messages.append({"role": "assistant", "content": "grown"})
    state.custom_state["grown"] = True


STAGED = StagedChange(tool_call_id="t9", merge_changes={"b": 1}, timestamp=9)
REFS = [SubSessionRef(sub_session_id=name, agent_type="x") for name in ("r1", "r2", "r3")]
USAGE = {
    "id": "u",
    "sessionId": "s",
    "kind": "tool",
    "source": {"type": "agent", "name": "x"},
    "toolName": "t",
    "durationMs": 5,
    "success": True,
}
# Those that take no commit id may be called twice.
WRITES: dict[str, Write] = {
    "create": lambda store, _: store.create_session("new", agent_type="x", parent_session_id="s", **ONCE),
    "save": lambda store, state: store.save_state("s", state, **ONCE),
    "save with usage": lambda store, state: store.save_state("s", state, usage=[USAGE], **ONCE),
    "save a new one": lambda store, _: store.save(AgentState(session_id="n", agent_type="x", expires_at=9), **ONCE),
    "update": lambda store, _: store.update_state("s", _grow, **ONCE),
    "status": lambda store, _: store.update_status("s", "running", **ONCE),
    "compare and set": lambda store, _: store.compare_and_set_status("s", ["active"], "running", **ONCE),
    "resume count": lambda store, _: store.increment_resume_count("s", **ONCE),
    "step count": lambda store, _: store.increment_step_count("s", **ONCE),
    "merge": lambda store, _: store.merge_custom_state("s", {"list": [2]}, **ONCE),
    "append": lambda store, _: store.append_messages("s", [{"role": "user"}], **ONCE),
    "append to a state": lambda store, _: _appended(store),
    "append or create": lambda store, _: store.append_messages("made", [{"type": "x"}], create="x", **ONCE),
    "pop": lambda store, _: store.pop_messages("s", 3, drop_checkpoints=True, **ONCE),
    "truncate": lambda store, _: store.truncate_messages("s", 1, drop_checkpoints=True, **ONCE),
    "replace": lambda store, _: store.replace_messages(
        "s", [{"role": "user"}], expected_version=3, drop_checkpoints=True, **ONCE
    ),
    "checkpoint": lambda store, _: store.save_checkpoint("s", run_id="r", stream_sequence=3, **ONCE),
    "save and checkpoint": lambda store, state: store.save_checkpoint("s", state, **ONCE),
    "restore": lambda store, _: store.restore_checkpoint("s", FIRST, **ONCE),
    "fork": lambda store, _: store.fork_session("s", FIRST, "fork", **ONCE),
    "prune": lambda store, _: store.prune_checkpoints("s", keep_last=1, **ONCE),
    "stage": lambda store, _: store.stage_changes("s", "step", STAGED, **ONCE),
    "discard": lambda store, _: store.discard_staging("s", "step", **ONCE),
    "promote": lambda store, _: store.promote_staging("s", "step", **ONCE),
    "save and promote": lambda store, state: store.save_state_and_promote_staging("s", state, step_id="step", **ONCE),
    "start run": lambda store, _: store.start_run("s", "run 2", expect_current_run_id="run 1", **ONCE),
    "update run": lambda store, _: store.update_run("s", "run 1", status="failed", error="e", **ONCE),
    "add references": lambda store, _: store.add_sub_session_refs("s", REFS, **ONCE),
    "update a reference": lambda store, _: store.update_sub_session_ref("s", "r1", status="failed", **ONCE),
    "delete": lambda store, _: store.delete_session("s", delete_usage=True, **ONCE),
    "delete what is not there": lambda store, _: store.delete_session("none", **ONCE),
    "clean up": lambda store, _: _done(store.cleanup_expired_sessions(NOW_MS)),
    "reset the fence": lambda store, _: store.reset_fence("s"),
}
writes = pytest.mark.parametrize("write", WRITES)


async def _appended(store: D1StateStore) -> AgentState:
    state = await store.load_state("s", required=True)
    await store.append_messages(state, [{"role": "user"}], **ONCE)
    return state


async def _done(call: Awaitable[object]) -> None:
    await call


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def pause(attempt: int) -> None:
        assert attempt < retry.ATTEMPTS

    monkeypatch.setattr(retry, "pause_before_retry", pause)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a database file with a session that has every kind of content, a child, and an expired session."""
    path = tmp_path_factory.mktemp("faults") / "template.sqlite"
    asyncio.run(_prepare(path))
    return path


async def _prepare(path: Path) -> None:
    database = SqliteDatabase(path)
    await run_migration(database)
    store = D1StateStore(database, now_ms=lambda: NOW_MS)
    state = await store.create_session(
        "s", agent_type="x", initial_state={"list": [1]}, fencing_token=5, commit_id="c1"
    )
    for number in (1, 2):
        turn: list[Message] = [{"role": "user", "content": f"{number}'s"}, {"role": "assistant"}]
        state.messages += turn
        await store.save_checkpoint("s", state, commit_id=f"c2.{number}")
    for call in ("t1", "t2"):
        change = StagedChange(tool_call_id=call, patches=[{"op": "add", "path": "/list/-", "value": call}], timestamp=1)
        await store.stage_changes("s", "step", change, commit_id=f"c3.{call}")
    await store.start_run("s", "run 1", commit_id="c4")
    await store.add_sub_session_refs("s", REFS[:1], commit_id="c5")
    await store.create_session("child", agent_type="x", parent_session_id="s", commit_id="c6")
    await store.save(AgentState(session_id="old", agent_type="x", expires_at=5), commit_id="c7")
    database.close()


class Session:
    """One database file, and the store on it with ordered faults."""

    def __init__(self, template: Path, path: Path) -> None:
        shutil.copy(template, path)
        self.path = path
        self.file = SqliteDatabase(path)
        self.faults = FaultyDatabase(self.file)
        self.store = D1StateStore(self.faults, now_ms=lambda: NOW_MS)

    async def call(self, write: str) -> str:
        """Make the call with the state that was loaded before the fault. Return its result, and the state after it."""
        state = AgentState.from_dict(self._loaded)
        _grow(state)
        result = await WRITES[write](self.store, state)
        return f"{result!r} {state!r} {state.stored_history}" if "save" in write else repr(result)

    async def load(self) -> None:
        state = await D1StateStore(self.file).load_state("s")
        self._loaded = state.to_dict() if state else {}

    async def picture(self) -> str:
        """Return all rows of all tables, without random numbers."""
        tables: dict[str, Any] = {}
        for name in TABLE_NAMES:
            [columns] = await self.file.batch([Statement("SELECT name FROM pragma_table_info(?1)", (name,))])
            [rows] = await self.file.batch([Statement(cast("Any", f"SELECT * FROM {name}"))])
            names = [cast("str", column[0]) for column in columns]
            tables[name] = [
                {
                    key: value
                    for key, value in zip(names, row, strict=True)
                    if key not in {"history_epoch", "applied_at"}
                }
                for row in rows
            ]
            for row in tables[name]:
                if "commits" in row:
                    row["commits"] = [[*commit[:7], *commit[8:]] for commit in json.loads(row["commits"])]
        return json.dumps(tables, indent=1)

    def reopen(self) -> None:
        self.file.close()
        self.file = SqliteDatabase(self.path)
        self.faults = FaultyDatabase(self.file)
        self.store = D1StateStore(self.faults, now_ms=lambda: NOW_MS)


def _even(text: str) -> str:
    return re.sub(r"(epoch|fingerprint)=\d+", "", text)


async def _new(template: Path, tmp_path: Path, name: str = "db") -> Session:
    session = Session(template, tmp_path / f"{name}.sqlite")
    await session.load()
    return session


async def _undisturbed(template: Path, tmp_path: Path, write: str) -> tuple[list[int], str, str]:
    """Return the statements of the call's batches, its result, and the database afterwards."""
    session = await _new(template, tmp_path, "undisturbed")
    result = await session.call(write)
    sent = list(session.faults.sent)
    picture = await session.picture()
    session.file.close()
    return sent, _even(result), picture


async def _once(session: Session, write: str, result: str, picture: str) -> None:
    """Check that everything is as without the fault, also after the file was opened again and the call repeated."""
    assert _even(await session.call(write)) == result
    assert await session.picture() == picture
    session.reopen()
    assert await session.picture() == picture
    assert _even(await session.call(write)) == result
    assert await session.picture() == picture
    session.file.close()


@writes
async def test_every_statement(template: Path, tmp_path: Path, write: str) -> None:
    """ST-10, ST-16, ST-20, ST-21, ST-38: whichever statement fails, before or after its effect, nothing of the call stays, and
    the error says so; the retry happens once.
    """
    sent, result, picture = await _undisturbed(template, tmp_path, write)
    for batch, statements in enumerate(sent):
        for index in range(statements):
            for moment in MOMENTS:
                session = await _new(template, tmp_path)
                before = await session.picture()
                session.faults.leave_alone(batch)
                session.faults.break_statement(index, moment)
                with pytest.raises(D1StateError, match="broken on demand") as raised:
                    await session.call(write)
                assert not raised.value.outcome_unknown
                assert len(session.faults.sent) == batch + 1
                assert await session.picture() == before
                await _once(session, write, result, picture)


@writes
@pytest.mark.parametrize("message", [LOST, UNKNOWN], ids=["transient", "unknown"])
async def test_every_reply(template: Path, tmp_path: Path, write: str, message: str) -> None:
    """ST-10, ST-20, ST-21, ST-42: whichever reply is lost, before or after the batch took place, the store's own retry or the
    caller's gives the first result.
    """
    sent, result, picture = await _undisturbed(template, tmp_path, write)
    for batch in range(len(sent)):
        for moment in MOMENTS:
            session = await _new(template, tmp_path)
            session.faults.leave_alone(batch)
            session.faults.fail(moment, message=message)
            if message == LOST and write != "clean up":
                assert _even(await session.call(write)) == result
                assert await session.picture() == picture
            else:
                with pytest.raises(D1StateError) as raised:
                    await session.call(write)
                assert raised.value.outcome_unknown or batch < len(sent) - 1
            await _once(session, write, result, picture)


@writes
async def test_replies_that_stay_away(template: Path, tmp_path: Path, write: str) -> None:
    """ST-10, ST-21: when the store's own retries run out the caller repeats, and it happens once."""
    sent, result, picture = await _undisturbed(template, tmp_path, write)
    session = await _new(template, tmp_path)
    session.faults.leave_alone(len(sent) - 1)
    times = 1 if write == "clean up" else retry.ATTEMPTS
    moments: list[Moment] = ["after"] * times
    session.faults.fail(*moments)
    with pytest.raises(D1StateError) as raised:
        await session.call(write)
    assert raised.value.outcome_unknown
    await _once(session, write, result, picture)
