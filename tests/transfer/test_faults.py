"""Import × every batch × {before, after} and × every statement of the last one: nothing, or the old session whole, or the new one."""

from typing import LiteralString, cast

import pytest

from agents_store_cloudflare.contract.errors import D1StateError
from agents_store_cloudflare.database import Row, Statement, retry
from agents_store_cloudflare.migrations import TABLE_NAMES, run_migration
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing import FaultyDatabase, SqliteDatabase
from agents_store_cloudflare.testing.faults import Moment
from agents_store_cloudflare.transfer import SessionCopy, export_session, import_session, staging
from agents_store_cloudflare.usage import D1UsageStore
from tests.transfer.reading import seen

UNKNOWN = "internal error; reference = x"
HIDDEN = (
    "__agents_message_blocks",
    "__agents_checkpoints",
    "__agents_staged_changes",
    "__agents_runs",
    "__agents_sub_sessions",
)


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make imports use several batches for a small session, without pauses between attempts."""

    async def pause(_attempt: int) -> None: ...

    monkeypatch.setattr(retry, "pause_before_retry", pause)
    monkeypatch.setattr(staging, "BATCH_BYTES", 400)


async def _filled(text: str) -> SqliteDatabase:
    database = SqliteDatabase()
    await run_migration(database)
    states, usage = D1StateStore(database, now_ms=lambda: 5), D1UsageStore(database, now_ms=lambda: 5)
    await states.create_session("s", agent_type="x", initial_state={"text": text})
    for number in range(4):
        await states.append_messages("s", [{"role": "user", "content": f"{text} {number} " + "x" * 150}])
        await states.save_checkpoint("s")
        await usage.record_tool("s", tool_name=text, duration_ms=number, success=True, id=f"{text}{number}")
    await states.start_run("s", text)
    return database


async def _all(database: SqliteDatabase) -> dict[str, list[Row]]:
    """Return every table, without the values that depend on a session's number."""
    [numbers] = await database.batch([Statement("SELECT session_no FROM __agents_states")])
    live = {row[0] for row in numbers}
    found: dict[str, list[Row]] = {}
    for table in set(TABLE_NAMES) - {"__agents_schema"}:
        sql = cast("LiteralString", f"SELECT * FROM {table} ORDER BY 1, 2")  # type: ignore[redundant-cast]
        [rows] = await database.batch([Statement(sql)])
        keys = [cast("int", row[0]) >> 24 if table in HIDDEN[:2] else row[0] for row in rows]
        found[table] = [row for row, key in zip(rows, keys, strict=True) if table not in HIDDEN or key in live]
    return found


async def _seen(database: SqliteDatabase) -> str:
    return await seen(D1StateStore(database), D1UsageStore(database))


@pytest.mark.parametrize("replaces", [False, True], ids=["a new one", "replace"])
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_every_batch(moment: Moment, replaces: bool) -> None:
    """TR-6: An import that fails at any batch leaves nothing or everything. A repetition ends it, without a second effect."""
    copy = await export_session(await _filled("new"), "s")
    old = await _seen(await _filled("old")) if replaces else "nothing"
    await import_session(plain := await _target(replaces), copy, replace=True)
    wanted = await _seen(plain)
    batch = 0
    for batch in range(100):
        faulty = FaultyDatabase(target := await _target(replaces))
        faulty.leave_alone(batch)
        faulty.fail(moment, message=UNKNOWN)
        try:
            await import_session(faulty, copy, replace=replaces)
        except D1StateError:
            pass
        else:
            break
        assert await _seen(target) in (old, wanted)
        await import_session(target, copy, replace=True)
        assert await _seen(target) == wanted
    assert batch > 10


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_lost_replies(moment: Moment) -> None:
    """TR-6: A lost reply is asked for again, and the import takes effect once."""
    copy = await export_session(await _filled("new"), "s")
    await import_session(plain := await _target(True), copy, replace=True)
    wanted = await _all(plain)
    batch = 0
    for batch in range(100):
        faulty = FaultyDatabase(target := await _target(True))
        faulty.leave_alone(batch)
        faulty.fail(moment)
        await import_session(faulty, copy, replace=True)
        assert await _all(target) == wanted
        if len(faulty.sent) <= batch:
            break
    assert batch > 10


@pytest.mark.parametrize("replaces", [False, True], ids=["a new one", "replace"])
async def test_every_statement_of_the_last_batch(replaces: bool) -> None:
    """TR-6: A failure anywhere in the batch that makes the session visible undoes the whole batch."""
    copy = await export_session(await _filled("new"), "s")
    batches = await _batches(copy, replaces)
    index = 0
    for index in range(100):
        faulty = FaultyDatabase(target := await _target(replaces))
        before = await _all(target)
        faulty.leave_alone(batches - 1)
        faulty.break_statement(index)
        try:
            await import_session(faulty, copy, replace=replaces)
        except D1StateError:
            assert await _all(target) == before
        else:
            break
    assert index > 10


async def _target(replaces: bool) -> SqliteDatabase:
    if replaces:
        return await _filled("old")
    database = SqliteDatabase()
    await run_migration(database)
    return database


async def _batches(copy: SessionCopy, replaces: bool) -> int:
    faulty = FaultyDatabase(await _target(replaces))
    await import_session(faulty, copy, replace=replaces)
    return len(faulty.sent)
