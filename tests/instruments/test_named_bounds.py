"""The bounds of docs/bounds.md that no other test shows: each collection is filled beyond its bound."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, LiteralString

import pytest

from agents_store_cloudflare import AgentState, D1StateStore, D1UsageStore, run_migration
from agents_store_cloudflare.adapters.langgraph.known import (
    MOST_CHECKPOINTS,
    MOST_THREADS,
    KnownCheckpoint,
    KnownThreads,
)
from agents_store_cloudflare.adapters.langgraph.lines import Lines
from agents_store_cloudflare.database import Statement
from agents_store_cloudflare.database.sqlite import SqliteDatabase, SqliteObjectSql
from agents_store_cloudflare.database.statements import compact_sql
from agents_store_cloudflare.durable_streams.producers import Producers
from agents_store_cloudflare.durable_streams.requests import Producer
from agents_store_cloudflare.durable_streams.stream_facts import facts_of
from agents_store_cloudflare.durable_streams.subscriptions import table
from agents_store_cloudflare.locks.ended_requests import MOST_REMEMBERED, EndedRequests
from agents_store_cloudflare.streams.commits import KEPT, Commit
from agents_store_cloudflare.streams.lifecycle import FORGOTTEN_FLUSHES
from agents_store_cloudflare.streams.log import StreamLog
from agents_store_cloudflare.streams.turn_closings import REMEMBERED_TURNS, TurnClosing
from agents_store_cloudflare.transfer.lines import LineWriter
from tests.durable_streams.outbound import World
from tests.durable_streams.test_subscriptions import HOOK, PULL, Site, settled
from tests.instruments.state_operations import REFS


def held(owner: object, name: str) -> Any:
    """Return a private collection."""
    return getattr(owner, name)


@pytest.fixture
def log() -> StreamLog:
    log = StreamLog(SqliteObjectSql(":memory:"), "s")
    log.create(now_ms=1)
    return log


def test_writers_whose_chunks_are_gone(log: StreamLog) -> None:
    """SM-9: The newest thousand are remembered, after a restart too. A producer among them is recognised."""
    count = FORGOTTEN_FLUSHES + 200
    for number in range(count):
        log.append("1", writer=f"w{number}", writer_sequence=1, now_ms=1)
    log.truncate(first_sequence=count + 1, now_ms=1)
    head = log.existing_head()
    assert sorted(head.forgotten_flushes) == sorted(f"w{number}" for number in range(200, count))
    log.append("1", writer="another", writer_sequence=1, now_ms=1)
    log.truncate(first_sequence=count + 2, now_ms=1)
    assert len(log.existing_head().forgotten_flushes) == FORGOTTEN_FLUSHES


def test_producers_whose_messages_are_gone(log: StreamLog) -> None:
    """DS-4: An index of producers holds only producers that the stream remembers."""
    producers, facts = Producers(log), facts_of(log.existing_head())
    count = FORGOTTEN_FLUSHES + 50
    for number in range(count):
        name, sequence = producers.key(facts, Producer(id=f"p{number}", epoch=0, seq=0)) or ("", 0)
        log.append("1", writer=name, writer_sequence=sequence, now_ms=1)
    log.truncate(first_sequence=count + 1, now_ms=1)
    for index in (producers, Producers(log)):
        assert index.taken(facts, Producer(id=f"p{count - 1}", epoch=0, seq=0)) == 0
        assert index.taken(facts, Producer(id="p1", epoch=0, seq=0)) is None
        assert len(held(index, "_index")) == FORGOTTEN_FLUSHES


def test_commits_of_a_stream(log: StreamLog) -> None:
    """SM-9: a stream remembers its latest requests; an older one is forgotten."""
    for number in range(KEPT + 8):
        (log.resume if number % 2 else log.pause)(now_ms=1, commit=Commit(f"c{number}"))
    assert list(log.existing_head().commits) == [f"c{number}" for number in range(8, KEPT + 8)]


@pytest.mark.parametrize(("size", "most"), [(8, REMEMBERED_TURNS), (512, 5)])
def test_closed_turns_of_a_stream(log: StreamLog, size: int, most: int) -> None:
    """SM-43: A stream remembers its newest closed turns. Long names make their number smaller."""
    for number in range(REMEMBERED_TURNS + 8):
        name = str(number).rjust(size, "t")
        closing = TurnClosing(turn_id=name, writer=name, incarnation=None)
        assert log.close_turn("{}", closing, now_ms=1) is not None
    turns = log.existing_head().closed_turns
    newest = REMEMBERED_TURNS + 7
    assert [int(turn_id.lstrip("t")) for turn_id, _, _ in turns] == list(range(newest - len(turns) + 1, newest + 1))
    assert len(turns) <= most
    assert len(turns) > most // 2


def test_releases_of_locks() -> None:
    """LK-9: the oldest release is forgotten first."""
    ended = EndedRequests()
    for number in range(MOST_REMEMBERED + 5):
        ended.add(str(number))
    assert len(held(ended, "_ids")) == MOST_REMEMBERED
    assert "4" not in ended
    assert "5" in ended


def test_sql_texts() -> None:
    """Up to the limit each statement is parsed once. A new one beyond it replaces the oldest."""
    for number in range(1_200):
        compact_sql(f"SELECT {number}")
    assert compact_sql.cache_info().currsize == compact_sql.cache_info().maxsize == 1_000


class Hanging(World):
    """Webhooks that never answer."""

    async def post(self, url: str, headers: Mapping[str, str], body: str, *, timeout_ms: int) -> tuple[int, str]:
        await super().post(url, headers, body, timeout_ms=timeout_ms)
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")


async def test_deliveries_under_way() -> None:
    """DS-15: Each subscription has at most one delivery under way, however much is appended meanwhile."""
    site = Site()
    site.world = site.objects.outbound = Hanging()
    before = len(asyncio.all_tasks())
    for name in ("a", "b", "c"):
        await site.subscribe(HOOK, name)
    await site.ask("PUT", "events/a", [1])
    for number in range(20):
        await site.ask("POST", "events/a", [number])
    await settled()
    assert len(site.world.sent) == 3
    assert len(asyncio.all_tasks()) <= before + 3
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


async def test_so_many_subscriptions(monkeypatch: pytest.MonkeyPatch) -> None:
    """DS-15: One subscription beyond the limit is refused by name. A deleted one makes room."""
    assert table.MAX_SUBSCRIPTIONS == 1_000
    monkeypatch.setattr(table, "MAX_SUBSCRIPTIONS", 3)
    site = Site()
    for name in ("a", "b", "c"):
        await site.subscribe(PULL, name)
    status, refusal = await site.ask("PUT", "__ds/subscriptions/d", PULL)
    assert (status, refusal["error"]["code"]) == (409, "TOO_MANY_SUBSCRIPTIONS")
    await site.ask("DELETE", "__ds/subscriptions/a")
    await site.subscribe(PULL, "d")


@pytest.mark.parametrize("what", ["kept", "seen", "begun"])
def test_threads_of_graphs(what: str) -> None:
    """A saver remembers a limited number of threads, and of checkpoints in each thread."""
    known = KnownThreads()
    for number in range(MOST_THREADS + 20):
        thread = (f"t{number}", "")
        for step in range(MOST_CHECKPOINTS + 3):
            if what == "kept":
                known.keep(thread, str(step), _known())
            elif what == "seen":
                known.see_head(thread, str(step))
            else:
                known.put_begins(thread, str(step))
    for name in ("_threads", "_heads", "_own"):
        collection = held(known, name)
        assert len(collection) <= MOST_THREADS
        if name != "_heads":
            assert all(len(each) <= MOST_CHECKPOINTS for each in collection.values())


def _known() -> KnownCheckpoint:
    return object.__new__(KnownCheckpoint)


def test_lines_of_a_graph() -> None:
    """The read lines are held by thread and log, until the answer is returned."""
    lines = Lines([["t", "", "log", number, str(number)] for number in range(50)])
    assert len(held(lines, "_logs")) == 1


def test_the_kinds_of_lines() -> None:
    """An export counts its lines by kind and has one session's name in memory, however many lines there are."""
    writer = LineWriter()
    for session in range(20):
        writer.begin(f"s{session}", None)
        for number in range(50):
            writer.line("usage", n=number)
        assert held(writer, "_own") == {"sessionId": f"s{session}"}
        assert dict(held(writer, "_counts")) == {"usage": 50}
        writer.end()


async def count(database: SqliteDatabase, table: LiteralString) -> int:
    """Return the number of rows."""
    [[[number]]] = await database.batch([Statement(f"SELECT COUNT(*) FROM {table}")])
    return int(str(number))


async def test_what_a_deleted_session_takes_along() -> None:
    """ST-22: Staged changes, runs and references are deleted with their session. Only its fence mark stays, one row for each id."""
    database = SqliteDatabase()
    await run_migration(database)
    store = D1StateStore(database)
    tables: tuple[LiteralString, ...] = (
        "__agents_staged_changes",
        "__agents_runs",
        "__agents_sub_sessions",
        "__agents_states",
    )
    for _ in range(2):
        state = AgentState(session_id="s", agent_type="x", messages=[{"role": "user", "content": "a"}])
        await store.save_checkpoint("s", state)
        await store.stage_changes(
            "s", "step", {"toolCallId": "c", "patches": [{"op": "add", "path": "/a", "value": 1}]}
        )
        await store.start_run("s", "run 1")
        await store.add_sub_session_refs("s", REFS[:1])
        assert [await count(database, table) > 0 for table in tables] == [True] * 4
        assert await store.delete_session("s")
        assert [await count(database, table) for table in tables] == [0] * 4
        assert await count(database, "__agents_fences") == 1


async def test_budgets_are_the_operators() -> None:
    """US-17: a scope is one row, however often it is set."""
    database = SqliteDatabase()
    await run_migration(database)
    budgets = D1UsageStore(database)
    for cap in range(1, 20):
        await budgets.set_budget("team", cap, "tokens")
        await budgets.set_budget("team/agent", cap, "tokens", parent="team")
    assert await count(database, "__agents_budgets") == 2
