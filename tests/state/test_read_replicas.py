"""Read replicas of D1: the suites pass over replicas that are behind, and a table says which calls replicas may answer."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agents_store_cloudflare import (
    CloudflareStore,
    InvalidArgumentError,
    StagedChange,
    StaleStateError,
    SubSessionRef,
    create_cloudflare_store,
)
from agents_store_cloudflare.durable_streams.stream_object import StreamObject
from agents_store_cloudflare.locks.lock_object import LockObject
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing import LaggingDatabase, LocalObjects, SqliteDatabase
from agents_store_cloudflare.testing.conformance.state import StateConformance
from agents_store_cloudflare.testing.conformance.state_contention import ContentionConformance
from agents_store_cloudflare.testing.conformance.state_history import HistoryConformance
from agents_store_cloudflare.testing.conformance.state_requests import RequestsConformance
from agents_store_cloudflare.testing.conformance.state_steps import StepsConformance
from agents_store_cloudflare.testing.conformance.turns import TurnConformance
from agents_store_cloudflare.testing.conformance.usage import UsageConformance
from agents_store_cloudflare.testing.conformance.usage_budgets import UsageBudgetConformance
from agents_store_cloudflare.testing.conformance.usage_totals import UsageTotalsConformance
from agents_store_cloudflare.usage import D1UsageStore

ANYTHING = "first-unconstrained"


def _store(database: object, bookmark: str | None = None) -> CloudflareStore:
    return create_cloudflare_store(
        db=database, streams=LocalObjects(StreamObject), locks=LocalObjects(LockObject), bookmark=bookmark
    )


@pytest.fixture
async def database() -> LaggingDatabase:
    database = LaggingDatabase(lag=3)
    await _store(database).migrate()
    database.catch_up()
    return database


@pytest.fixture
def store(database: LaggingDatabase) -> CloudflareStore:
    return _store(database, ANYTHING)


class InSessions:
    """Every store has a session of its own, and replicas are three writes behind."""

    @pytest.fixture
    def state_store(self, store: CloudflareStore) -> D1StateStore:
        return store.state_store

    @pytest.fixture
    def usage_store(self, store: CloudflareStore) -> D1UsageStore:
        return store.usage_store


class TestState(InSessions, StateConformance): ...


class TestHistory(InSessions, HistoryConformance): ...


class TestSteps(InSessions, StepsConformance): ...


class TestContention(InSessions, ContentionConformance): ...


class TestRequests(InSessions, RequestsConformance): ...


class TestUsage(InSessions, UsageConformance, UsageTotalsConformance, UsageBudgetConformance): ...


class TestTurns(TurnConformance):
    @pytest.fixture
    def store(self, database: LaggingDatabase) -> CloudflareStore:
        return _store(database, ANYTHING)


Call = Callable[[CloudflareStore], Awaitable[Any]]

SHOWN: dict[str, Call] = {
    "load_state": lambda store: store.state_store.load_state("s"),
    "exists": lambda store: store.state_store.exists("s"),
    "get_messages": lambda store: store.state_store.get_messages("s"),
    "get_checkpoint": lambda store: store.state_store.get_checkpoint("s", _KEPT[0]),
    "get_latest_checkpoint": lambda store: store.state_store.get_latest_checkpoint("s"),
    "list_checkpoints": lambda store: store.state_store.list_checkpoints("s"),
    "list_checkpoints (bare)": lambda store: store.state_store.list_checkpoints("s", include_state=False),
    "list_sessions": lambda store: store.state_store.list_sessions(),
    "get_staged_changes": lambda store: store.state_store.get_staged_changes("s"),
    "get_current_run": lambda store: store.state_store.get_current_run("s"),
    "list_runs": lambda store: store.state_store.list_runs("s"),
    "get_sub_session_refs": lambda store: store.state_store.get_sub_session_refs("s"),
    "get_rollup": lambda store: store.usage_store.get_rollup("s"),
    "get_entries": lambda store: store.usage_store.get_entries("s"),
    "get_entry_count": lambda store: store.usage_store.get_entry_count("s"),
    "usage exists": lambda store: store.usage_store.exists("s"),
    "find_session_ids": lambda store: store.usage_store.find_session_ids(),
}
"""The calls that replicas may answer: they show what is stored, and decide nothing."""

_KEPT: list[str] = []


async def _fill(store: CloudflareStore) -> None:
    """Everything that the calls show."""
    states, usage = store.state_store, store.usage_store
    await states.create_session("s", agent_type="t")
    await states.append_messages("s", [{"role": "user"}])
    _KEPT[:] = [(await states.save_checkpoint("s")).id]
    await states.stage_changes("s", "step", StagedChange(tool_call_id="c", merge_changes={"a": 1}))
    await states.start_run("s", "run")
    await states.add_sub_session_refs("s", [SubSessionRef(sub_session_id="x", agent_type="t", location="remote")])
    await usage.record_tokens("s", model="m", tokens={"prompt": 1, "completion": 1})


@pytest.mark.parametrize("name", SHOWN)
async def test_replicas_answer(database: LaggingDatabase, name: str) -> None:
    """RB-1: a replica may answer this call: a store without a bookmark of the writer may see nothing yet, and one with it sees all."""
    database.lag = 1_000
    writer = _store(database, ANYTHING)
    await _fill(writer)
    late, following = _store(database, ANYTHING), _store(database, writer.bookmark)
    behind, seen = await SHOWN[name](late), await SHOWN[name](following)
    assert database.replica_reads == 2
    assert seen == await SHOWN[name](writer)
    assert behind != seen


async def _update(store: CloudflareStore) -> Any:
    state = await store.state_store.update_state("s", lambda state: state.custom_state.update(b=2), attempts=1)
    return state.version


async def _version(call: Awaitable[Any]) -> Any:
    return (await call).version


async def _settled(store: CloudflareStore) -> Any:
    budget = await store.usage_store.get_budget("b")
    return None if budget is None else budget.settled


async def _ids(store: CloudflareStore) -> Any:
    return (await store.state_store.get_session_tree("s")).session_ids


FRESH: dict[str, tuple[Call, object]] = {
    "update_state": (_update, 5),
    "promote_staging": (lambda store: _version(store.state_store.promote_staging("s", "step")), 5),
    "merge_custom_state": (lambda store: _version(store.state_store.merge_custom_state("s", {"b": 2})), 5),
    "create_session (exist_ok)": (
        lambda store: _version(store.state_store.create_session("s", agent_type="t", exist_ok=True)),
        4,
    ),
    "get_budget": (_settled, 3),
    "delete_session": (lambda store: store.delete_session("s"), True),
    "get_session_tree": (_ids, ("s",)),
    "migrate": (lambda store: store.migrate(), None),
}
"""The calls that decide something by what they read: they ask the primary."""


@pytest.mark.parametrize("name", FRESH)
async def test_the_primary_answers(database: LaggingDatabase, name: str) -> None:
    """RB-1: what decides about a write is read from the primary, however far replicas are behind."""
    call, wanted = FRESH[name]
    database.lag = 1_000
    writer = _store(database)
    await _fill(writer)
    await writer.state_store.update_status("s", "busy")
    await writer.state_store.update_status("s", "idle")
    await writer.usage_store.set_budget("b", 100, "tokens")
    reservation = await writer.usage_store.reserve("b", 10)
    assert reservation is not None
    await writer.usage_store.settle(reservation, 3)
    found = await call(_store(database, ANYTHING))
    assert database.replica_reads == 0
    assert wanted in (None, found)


async def test_a_stale_load_loses_nothing(database: LaggingDatabase) -> None:
    """RB-1: a state that a replica gave is saved against the version that it had: a conflict, never a lost update."""
    writer = _store(database)
    await writer.state_store.create_session("s", agent_type="t")
    await writer.state_store.append_messages("s", [{"role": "user", "content": "newer"}])
    database.lag = 1
    late = _store(database, ANYTHING)
    state = await late.state_store.load_state("s", required=True)
    assert state.messages == []
    state.messages.append({"role": "user", "content": "mine"})
    with pytest.raises(StaleStateError):
        await late.state_store.save(state)
    again = await late.state_store.load_state("s", required=True)
    assert [message.get("content") for message in again.messages] == ["newer"]


async def test_bookmarks(database: LaggingDatabase) -> None:
    """RB-1: a store sees its own writes; its bookmark rises; `first-primary` begins at the newest state."""
    database.lag = 100
    store = _store(database, ANYTHING)
    begun = [store.bookmark]
    assert begun == [None]
    await store.state_store.create_session("s", agent_type="t")
    first = store.bookmark or ""
    assert await store.state_store.exists("s")
    await store.state_store.update_status("s", "busy")
    second = store.bookmark or ""
    assert second > first
    assert max(first, second) == second
    assert await _store(database, "first-primary").state_store.exists("s")
    assert not await _store(database, ANYTHING).state_store.exists("s")
    assert _store(database).bookmark is None


@pytest.mark.parametrize(
    "bookmark",
    [
        "",
        "nonsense",
        "first",
        "1-2-3",
        "1-2-3-4-5",
        "1-2-3-g",
        "1-2-3-4\n",
        "1" * 200 + "-2-3-4",
        "A-B-C-D",
        "\u0661-2-3-4",
    ],
)
def test_malformed_bookmarks(database: LaggingDatabase, bookmark: str) -> None:
    """RB-1: a text that is no bookmark is refused before anything is asked; the platform would take it and show any state."""
    with pytest.raises(InvalidArgumentError, match="four groups of hexadecimal digits"):
        _store(database, bookmark)


@pytest.mark.parametrize("bookmark", [7, b"first-primary", ["first-primary"]])
def test_what_is_no_text(database: LaggingDatabase, bookmark: Any) -> None:
    """RB-1: a bookmark is text."""
    with pytest.raises(TypeError, match="bookmark must be text"):
        _store(database, bookmark)


def test_a_database_without_sessions() -> None:
    """RB-1: a database without replicas says so."""
    with pytest.raises(InvalidArgumentError, match="has no sessions"):
        _store(SqliteDatabase(), "first-primary")


async def test_adapters_writes_are_the_stores_own(database: LaggingDatabase, store: CloudflareStore) -> None:
    """RB-1: The store sees what an adapter wrote through `session_homes`, and so does the next request's store."""
    adapter = D1StateStore(store.session_homes)
    for _ in range(5):
        await adapter.append_messages("ada", [{"role": "user"}], create="t")
    assert (await store.state_store.get_messages("ada")).total == 5
    assert (await _store(database, store.bookmark).state_store.get_messages("ada")).total == 5


async def test_adapters_read_from_the_primary(database: LaggingDatabase, store: CloudflareStore) -> None:
    """RB-1: What an adapter reads may decide about its writes, so no replica answers."""
    await _store(database).state_store.create_session("ada", agent_type="t")
    assert await D1StateStore(store.session_homes).exists("ada")
    assert database.replica_reads == 0
