"""A row that another program has damaged affects its own session's pages only: lists, totals and other sessions are shown as they are."""

import sqlite3
from collections.abc import Iterator
from html import unescape
from typing import Any, cast

import pytest

from agents_store_cloudflare import AgentState, MergeChanges, StagedChange, SubSessionRef
from agents_store_cloudflare.database import Statement
from tests.console.conftest import Site
from tests.instruments.images import copy_into, copy_of
from tests.lengths import length

TEXTS = ("{", '"x"', "5", "[1]", '{"no": {"such": "field"}}', b"\x00\xff")
NUMBERS = ("abc", 1e300, 2**62, -(2**63), 1.5, b"\x00")
_NUMBER = "(SELECT session_no FROM __agents_states WHERE session_id = 'bad')"
TABLES = {
    **dict.fromkeys(("__agents_states", "__agents_fences", "__agents_usage"), "session_id = 'bad'"),
    "__agents_usage_by_session": "session_id = 'bad'",
    "__agents_usage_by_day": "name = 'of bad'",
    **dict.fromkeys(("__agents_runs", "__agents_staged_changes", "__agents_sub_sessions"), f"session_no = {_NUMBER}"),
    **dict.fromkeys(("__agents_message_blocks", "__agents_checkpoints"), f"id / 16777216 = {_NUMBER}"),
    **dict.fromkeys(("__agents_budgets", "__agents_reservations", "__agents_settlements"), "scope = 'bad'"),
}
"""Table -> the condition of the damaged rows."""

KEYS = {"session_no", "session_id", "id"}
"""A row whose key is changed is another session's row, or nobody's."""

PAGES = (
    "/console/",
    "/console/?prefix=b",
    "/console/?status=active",
    "/console/session?id=good",
    "/console/messages?id=good",
    "/console/state?id=good",
    "/console/checkpoints?id=good",
    "/console/runs?id=good",
    *(f"/console/usage?by={by}" for by in ("day", "model", "agent", "tool", "tenant")),
    "/console/usage.csv?by=day",
    "/console/budgets",
    "/console/api/sessions",
    "/console/api/usage?by=tenant",
    "/console/api/budgets",
)


OWN_PAGES = ("session", "messages", "message", "state", "value", "compare", "checkpoints", "runs", "stream")
ALWAYS = {"session", "checkpoints", "runs", "stream"}
"""The pages of a session that show what can be read. Another page is of one row: if it is damaged, the page names it."""


async def _fill(site: Site, session_id: str) -> None:
    """Make a session with every kind of row."""
    states, usage = site.store.state_store, site.store.usage_store
    await states.save(AgentState(session_id=session_id, agent_type="a", messages=[{"role": "user", "content": "hi"}]))
    await states.save_checkpoint(session_id, run_id="r1", stream_sequence=5)
    await states.start_run(session_id, "r1")
    await states.add_sub_session_refs(session_id, [SubSessionRef(sub_session_id=f"{session_id}/1", agent_type="h")])
    change = StagedChange(tool_call_id="c", merge_changes=MergeChanges(values={"l": [1]}), timestamp=5)
    await states.stage_changes(session_id, "step", change)
    await usage.record_tokens(session_id, model=f"of {session_id}", tokens={"prompt": 5})
    await usage.record_tool(session_id, tool_name="t", duration_ms=1, success=True)
    await usage.set_budget(session_id, 1000, "tokens")
    reservation = await usage.reserve(session_id, 100)
    assert reservation is not None
    await usage.settle(reservation, 50)
    assert await usage.reserve(session_id, 7) is not None


def _changes(connection: sqlite3.Connection) -> Iterator[tuple[str, str, object]]:
    for table in TABLES:
        for _, name, kind, *_ in connection.execute(f"PRAGMA table_info({table})").fetchall():
            yield from ((table, name, value) for value in (NUMBERS if kind == "INTEGER" else TEXTS) if name not in KEYS)


def _damages(site: Site, *, every: int, least: int) -> Iterator[tuple[str, str, object]]:
    """Damage one value of the session `bad` after the other, each alone: all of them in a soak, otherwise one in `every`."""
    connection = cast("Any", site.database)._connection._connection
    whole = copy_of(site.database)
    changes = [each for place, each in enumerate(_changes(connection)) if place % length(every, 1) == 0]
    assert len(changes) > least
    for table, column, value in changes:
        copy_into(whole, site.database)
        connection.execute(f"UPDATE OR IGNORE {table} SET {column} = ? WHERE {TABLES[table]}", (value,))
        yield table, column, value


async def test_a_damaged_row_costs_its_own_pages(site: Site) -> None:
    """CN-6: With any value in any column, all lists, all totals and the pages of other sessions are shown."""
    for session_id in ("bad", "good"):
        await _fill(site, session_id)
    refused = list[object]()
    for table, column, value in _damages(site, every=9, least=50):
        for page in PAGES:
            answer = await site.ask(page)
            if answer.status != 200:
                refused.append((page, table, column, value, answer.status))
    assert refused == []


async def test_a_damaged_session_is_shown_or_named(site: Site) -> None:
    """CN-6, ST-51: With any value in any column, the session's own pages show what can be read, or name the row."""
    await _fill(site, "bad")
    [checkpoint] = (await site.store.state_store.list_checkpoints("bad")).items
    asked = {"message": "&n=0", "value": "&path=", "compare": f"&from={checkpoint.id}&to=now"}
    urls = [
        f"{face}{page}?id=bad{asked.get(page, '')}" for page in OWN_PAGES for face in ("/console/", "/console/api/")
    ]
    urls.append(f"/console/state?id=bad&at={checkpoint.id}")
    wrong = list[object]()
    for table, column, value in _damages(site, every=7, least=60):
        for url in urls:
            answer = await site.ask(url)
            said = unescape(str(answer.body))
            is_named = "session 'bad' cannot be read" in said
            is_other = checkpoint.id in url and answer.status == 404  # the id of a checkpoint has its time and its step
            page = url.removeprefix("/console/").removeprefix("api/").partition("?")[0]
            if answer.status != 200 and (page in ALWAYS or not (is_named or is_other)):
                wrong.append((url, table, column, value, answer.status, said[-200:]))
    assert wrong == []


@pytest.mark.parametrize("column", ["cap", "unit", "parent", "reserved", "settled", "overruns"])
async def test_a_damaged_budget_is_named(site: Site, column: str) -> None:
    """CN-6: The page shows the other budgets and names the scope. A session's page does the same."""
    usage = site.store.usage_store
    await site.store.state_store.create_session("b", agent_type="a")
    for scope in ("a", "b", "c"):
        await usage.set_budget(scope, 10, "tokens")
    value = "x'00ff'" if column in {"unit", "parent"} else "'abc'"
    sql = cast("Any", f"UPDATE __agents_budgets SET {column} = {value} WHERE scope = 'b'")
    await site.database.batch([Statement(sql)])
    data = await site.data("/console/api/budgets")
    assert [each["scope"] for each in data["budgets"]] == ["a", "c"]
    assert data["unreadable"] == ["b"]
    for page in ("/console/budgets", "/console/session?id=b"):
        assert "cannot be read: b." in (await site.page(page)).text


async def test_a_damaged_session_is_named(site: Site) -> None:
    """CN-6: The list shows the readable facts of the session, and names the others."""
    await site.store.state_store.create_session("b", agent_type="a")
    await site.database.batch([Statement("UPDATE __agents_states SET created_at = 'abc', open_turn = '{'")])
    [row] = (await site.data("/console/api/sessions"))["sessions"]
    assert (row["sessionId"], row["createdAt"], row["unreadable"]) == ("b", 0, ["created_at", "open_turn"])
    assert "unreadable: created_at, open_turn" in (await site.page("/console/")).text
