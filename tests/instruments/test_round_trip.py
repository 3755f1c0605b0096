"""Back-up and restore of a database that is lived in: equal by every read afterwards, and life goes on in the copy.

`wrangler d1 export` and `execute --file` run on real D1. D1's Time Travel does not exist locally: it brings back D1's own pages, so
there is nothing of this package in it that could fail.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, LiteralString, cast

import pytest

from agents_store_cloudflare import create_cloudflare_store, transfer
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.migrations import run_migration
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.state.session_tables import SESSION_TABLES, SHARED_TABLES
from agents_store_cloudflare.store import CloudflareStore
from agents_store_cloudflare.testing import SqliteDatabase
from agents_store_cloudflare.transfer.lines import Copy
from agents_store_cloudflare.transfer.tables import TABLES, columns_of
from tests.end_to_end.test_round_trip import CONFIG, database_file, wrangler_export
from tests.instruments.adapter_life import AdapterLife
from tests.instruments.moving import Life, moved
from tests.instruments.turn_world import BUDGET, SESSION, TURNS, TurnWorld, whole
from tests.lengths import length
from tools.local_runtime import wrangler


async def _empty() -> SqliteDatabase:
    database = SqliteDatabase()
    await run_migration(database)
    return database


@pytest.mark.parametrize("seed", range(length(3, 60)))
async def test_our_own_export(seed: int) -> None:
    """TR-1, TR-2, TR-11, TR-12: Sessions, usage and budgets stay usable in copies of copies."""
    life = Life(await _empty(), Random(seed))
    for _ in range(length(3, 8)):
        await life.live(length(150, 400))
        await moved(life.database, target := await _empty())
        await life.reopen(target)
    await life.live(100)
    await life.check_totals()


async def _with_turns(database: SqliteDatabase) -> TurnWorld:
    """A world with turns of every kind, one that waits for an answer, references, and conversations of every adapter."""
    world = await TurnWorld.open(database)
    for name, kind in TURNS.items():
        with suppress(ZeroDivisionError):
            await whole(world.theirs, name, **kind)
    async with world.theirs.turn(SESSION, agent_type="x", turn_id="asks") as turn:
        turn.finish({"of": "this turn"})
        await turn.suspend({"question": 1})
    ref: Any = {"sub_session_id": "r", "agent_type": "x", "output": [1]}
    await world.theirs.state_store.add_sub_session_refs(SESSION, [ref])
    await AdapterLife(database).live()
    return world


async def _turn_reads(store: CloudflareStore) -> list[Any]:
    states = store.state_store
    state = await states.load_state(SESSION, required=True)
    return [
        state.to_dict(),
        [run.to_dict() for run in await states.list_runs(SESSION)],
        await states.get_sub_session_refs(SESSION),
        [(due.session_id, due.owed) for due in await states.list_due_turns(10)],
        [entry.to_dict() for entry in await store.usage_store.get_entries(SESSION)],
        None if (budget := await store.usage_store.get_budget(BUDGET)) is None else budget.to_dict(),
    ]


async def _goes_on(world: TurnWorld, target: SqliteDatabase) -> None:
    """A copy is equal by every read, and its turns and conversations go on."""
    copied = create_cloudflare_store(db=target, streams=world.streams, locks=world.lock_objects)
    assert [run.turn for run in await copied.state_store.list_runs(SESSION)] == [5, 4, 3, 2, 1]
    assert await _turn_reads(copied) == await _turn_reads(world.theirs)
    life, copy = AdapterLife(world.database), AdapterLife(target)
    assert await copy.reads() == await life.reads()
    async with copied.turn(SESSION, agent_type="x", turn_id="answer") as turn:
        assert (turn.number, turn.resumed_from, turn.run.resumes) == (6, {"question": 1}, "asks")
    for each in (life, copy):
        await each.live()
    assert [len(read[1]) for read in (await copy.reads(), await life.reads())]


async def test_turns_and_conversations() -> None:
    """TR-1, TR-9: runs, outputs, owed closing chunks, references and adapters' conversations are the same in a copy, and go on there."""
    world = await _with_turns(SqliteDatabase())
    await moved(world.database, target := await _empty())
    await _goes_on(world, target)
    world.close()
    target.close()


async def test_rows_of_adapters() -> None:
    """TR-9: whatever rows the adapters' tables have, a copy has them too."""
    database = await _empty()
    await D1StateStore(database).create_session(SESSION, agent_type="x")
    for table in SESSION_TABLES:
        columns = await columns_of(database, table)
        marks = ", ".join(f"'{SESSION}'" if column == "session_id" else "'5'" for column in columns)
        filled = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"
        await database.batch([Statement(cast("LiteralString", filled))])  # type: ignore[redundant-cast]
    await moved(database, target := await _empty())
    for table in SESSION_TABLES:
        select = Statement(cast("LiteralString", f"SELECT * FROM {table}"))  # type: ignore[redundant-cast]
        assert await target.batch([select]) == await database.batch([select]) != [[]]


@pytest.mark.runtime
async def test_turns_and_conversations_through_wrangler(tmp_path: Path) -> None:
    """MG-11: the same through `wrangler d1 export` and `execute --file`, into an empty database."""
    source, target, dump = tmp_path / "source", tmp_path / "target", tmp_path / "dump.sql"
    wrangler("d1", "migrations", "apply", "DB_A", "--local", config=CONFIG, persist=source)
    world = await _with_turns(SqliteDatabase(database_file(source)))
    wrangler_export(source, dump)
    wrangler("d1", "execute", "DB_A", "--local", "--file", str(dump), config=CONFIG, persist=target)
    await _goes_on(world, SqliteDatabase(database_file(target)))
    world.close()


@pytest.mark.runtime
@pytest.mark.parametrize("seed", range(length(1, 8)))
async def test_wranglers_export(seed: int, tmp_path: Path) -> None:
    """MG-11: `wrangler d1 export` and `execute --file` into an empty database give the same."""
    source, target, dump = tmp_path / "source", tmp_path / "target", tmp_path / "dump.sql"
    wrangler("d1", "migrations", "apply", "DB_A", "--local", config=CONFIG, persist=source)
    life = Life(SqliteDatabase(database_file(source)), Random(seed))
    await life.live(length(300, 1500))
    wrangler_export(source, dump)
    wrangler("d1", "execute", "DB_A", "--local", "--file", str(dump), config=CONFIG, persist=target)
    await life.reopen(SqliteDatabase(database_file(target)))
    await life.live(100)
    await life.check_totals()


@pytest.mark.parametrize("table", sorted(set(TABLES) - {*SESSION_TABLES, *SHARED_TABLES}))
async def test_a_lost_table_is_seen(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: a copy without the rows of one table does not count as equal."""
    whole = transfer.lines_of

    def without(copies: Iterable[Copy], *, now_ms: int) -> Iterator[str]:
        for copy in copies:
            if table in copy["stored"]:
                copy["stored"][table] = []
        return whole(copies, now_ms=now_ms)

    monkeypatch.setattr(transfer, "lines_of", without)
    with pytest.raises((AssertionError, InvalidArgumentError)):
        await _moving_lives(20)


async def _moving_lives(seeds: int) -> None:
    for seed in range(seeds):
        life = Life(await _empty(), Random(seed))
        for _ in range(4):
            await life.live(150)
            await moved(life.database, target := await _empty())
            await life.reopen(target)
        await life.live(100)
