"""The state store over homes: real Durable Objects, and real D1 for the directory."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agents_store_cloudflare import (
    AgentState,
    CloudflareStore,
    Cost,
    D1StateStore,
    SessionOptions,
    StreamOptions,
    create_cloudflare_store,
)
from agents_store_cloudflare.cloudflare.namespace import as_namespace
from agents_store_cloudflare.gateway import HttpRequest, SessionStates, StreamGateway
from agents_store_cloudflare.homes.places import HomeParts, Places
from agents_store_cloudflare.homes.wire import SIZE
from agents_store_cloudflare.testing import SystemClock
from agents_store_cloudflare.testing.conformance.families import Families
from agents_store_cloudflare.testing.conformance.locks import LockConformance
from agents_store_cloudflare.testing.conformance.state import StateConformance
from agents_store_cloudflare.testing.conformance.state_contention import ContentionConformance
from agents_store_cloudflare.testing.conformance.state_history import HistoryConformance
from agents_store_cloudflare.testing.conformance.state_requests import RequestsConformance
from agents_store_cloudflare.testing.conformance.state_steps import StepsConformance
from agents_store_cloudflare.testing.conformance.streams import StreamConformance
from agents_store_cloudflare.testing.conformance.turns import TurnConformance


class OverHomes(Families):
    """The store under test: the directory follows at once."""

    @pytest.fixture
    def state_store(self, env: Any, database: Any) -> D1StateStore:
        store = create_cloudflare_store(
            db=database,
            streams=env.STREAMS,
            sessions=env.SESSIONS,
            session_options=SessionOptions(directory_delay=0),
        )
        return store.state_store

    @pytest.fixture
    def member(self) -> Callable[[str, str], str]:
        return lambda family, name: f"{family}//{name}"


class TestState(OverHomes, StateConformance): ...


class TestHistory(OverHomes, HistoryConformance): ...


class TestSteps(OverHomes, StepsConformance): ...


class TestContention(OverHomes, ContentionConformance): ...


class TestRequests(OverHomes, RequestsConformance): ...


class TestTurns(TurnConformance):
    @pytest.fixture
    def store(self, env: Any, database: Any) -> CloudflareStore:
        return create_cloudflare_store(
            db=database,
            streams=env.STREAMS,
            locks=env.LOCKS,
            sessions=env.SESSIONS,
            session_options=SessionOptions(directory_delay=0),
        )

    async def test_batches_of_a_turn(self, store: CloudflareStore, unique: str) -> None:
        """TU-9, HM-4: A turn over homes sends nothing to D1, and two calls to its home."""
        async with store.turn(unique, agent_type="a"):
            pass
        with store.meter() as meter:
            async with store.turn(unique, agent_type="a", messages=[{"role": "user"}]) as turn:
                turn.add({"role": "assistant"})
        assert (meter.d1.round_trips, meter.objects.calls) == (0, 2)


class InHomes:
    """Streams and locks of homes."""

    @pytest.fixture
    def clock(self) -> SystemClock:
        return SystemClock()

    @pytest.fixture
    def stream_namespace(self, env: Any) -> HomeParts:
        return HomeParts(_places(env), as_namespace(env.STREAMS))

    @pytest.fixture
    def lock_namespace(self, env: Any) -> HomeParts:
        return HomeParts(_places(env), as_namespace(env.LOCKS))


class TestStreams(InHomes, StreamConformance): ...


class TestLocks(InHomes, LockConformance): ...


def _places(env: Any) -> Places:
    namespaces = [as_namespace(binding) for binding in (env.SESSIONS, env.STREAMS, env.LOCKS)]
    return Places(*namespaces, in_homes=True, asks=False)


async def test_events_of_a_home(env: Any, database: Any, unique: str) -> None:
    """HM-3: Listeners get the home's stream over HTTP from the home, and a child's stream from an object of its own."""
    store = create_cloudflare_store(db=database, streams=env.STREAMS, locks=env.LOCKS, sessions=env.SESSIONS)
    await store.state_store.create_session(unique, agent_type="x")
    for session_id in (unique, f"{unique}//child"):
        async with store.turn(session_id, agent_type="x") as turn:
            await turn.write({"type": "text", "text": "hello"})
        await store.stream_manager.end_stream(session_id)
        response: Any = await store.stream_manager.sse_response(session_id)
        assert (response.status, "hello" in await response.text()) == (200, True)
    apart = create_cloudflare_store(db=database, streams=env.STREAMS).stream_manager
    assert [await apart.get_info(each) is None for each in (unique, f"{unique}//child")] == [True, False]


async def test_following(env: Any, database: Any, unique: str) -> None:
    """HM-14: in real objects a follower gets the summary at once and after a commit, in a Worker and over Server-Sent Events."""
    store = create_cloudflare_store(db=database, streams=env.STREAMS, locks=env.LOCKS, sessions=env.SESSIONS)
    await store.state_store.create_session(unique, agent_type="x")
    following = store.follow(unique)
    states = SessionStates(env.SESSIONS)
    gateway = StreamGateway(store.stream_namespace, authorize=_anybody, faces=[states])
    response: Any = await gateway.handle(HttpRequest(url=f"https://a.example{states.path(unique)}"))
    reader = response.body.getReader()
    seen = [(await anext(following)).status]
    events = [await _text_of(reader)]
    for status in ("paused", "running", "completed"):
        await store.state_store.update_status(unique, status)
        seen.append((await anext(following)).status)
        events.append(await _text_of(reader))
    await reader.cancel()
    await following.aclose()
    assert seen == ["active", "paused", "running", "completed"]
    assert [json.loads(event.partition("data: ")[2])["status"] for event in events] == seen


def _anybody(_request: object, _session_id: str, _action: str) -> bool:
    return True


async def _text_of(reader: Any) -> str:
    return bytes((await reader.read()).value.to_py()).decode()


async def test_forty_megabytes(env: Any, database: Any, unique: str) -> None:
    """HM-11: in real objects a history of 40 MB is saved in one call, loaded, read by page, kept, and forked to another home."""
    store = create_cloudflare_store(db=database, streams=env.STREAMS, sessions=env.SESSIONS).state_store
    state = AgentState(session_id=unique, agent_type="x")
    state.messages = [{"role": "user", "content": f"{n} ".ljust(20_000, "x")} for n in range(2_000)]
    await store.save(state)
    loaded = await store.load_state(unique, required=True)
    assert loaded.messages == state.messages
    page = await store.get_messages(unique, offset=1_990, limit=20)
    assert [str(message.get("content"))[:4] for message in page] == [str(n) for n in range(1_990, 2_000)]
    checkpoint = await store.save_checkpoint(unique)
    for fork in (f"{unique}//fork", f"{unique}-fork"):
        assert len((await store.fork_session(unique, checkpoint.id, fork)).messages) == 2_000
        assert (await store.get_messages(fork)).total == 2_000


async def test_a_new_home(env: Any, database: Any, unique: str) -> None:
    """HM-13: A new home writes at most 13 rows beside the session's own, and takes 32 KB before its first save."""
    homes, plain = _both(env, database)
    with homes.meter() as meter, plain.meter() as beside:
        await homes.state_store.create_session(unique, agent_type="x")
        await plain.state_store.create_session(f"{unique}-d1", agent_type="x")
    assert _rows(meter.cost()) - _rows(beside.cost()) <= 13
    assert homes.parts.homes is not None
    assert await homes.parts.homes.call(unique, SIZE) == 32_768


async def test_rows_as_in_d1(env: Any, database: Any, unique: str) -> None:
    """HM-13: The calls of a session write as many rows in its home as in D1, or fewer, because D1 has indexes over all sessions."""
    homes, plain = _both(env, database)
    for store in (homes, plain):
        await _work(store, unique, {})  # the home makes its tables with their first rows
    counted: list[dict[str, int]] = [{}, {}]
    for store, rows in zip((homes, plain), counted, strict=True):
        await _work(store, unique, rows)
    in_home, in_d1 = counted
    assert in_home["save"] == in_d1["save"] == 2
    assert {name: rows for name, rows in in_home.items() if rows > in_d1[name]} == {}


async def test_rows_of_a_turn(env: Any, database: Any, unique: str) -> None:
    """HM-13: A turn in a home writes the rows that bench/capacity.py counts with. D1's turn writes 24 rows."""
    store = create_cloudflare_store(
        db=database,
        streams=env.STREAMS,
        locks=env.LOCKS,
        sessions=env.SESSIONS,
        stream_options=StreamOptions(flush_interval=60),
    )
    written: list[int] = []
    calls: list[int] = []
    for _ in range(2):
        with store.meter() as meter:
            async with store.turn(unique, agent_type="x", messages=[{"role": "user"}]) as turn:
                for number in range(10):
                    await turn.write({"type": "text", "n": number})
                turn.add({"role": "assistant"})
                turn.record_tokens(model="m", prompt=1, completion=1)
        assert meter.d1.rows_written == 0
        written.append(_rows(meter.cost()))
        calls.append(meter.objects.calls)
    assert calls == [6, 2]  # the first asks whether the name has a lock, a stream or a session elsewhere
    assert written[0] <= 42
    assert written[1] <= 17
    assert store.parts.homes is not None
    assert int(str(await store.parts.homes.call(unique, SIZE))) <= 65_536


def _both(env: Any, database: Any) -> tuple[CloudflareStore, CloudflareStore]:
    """Return a store over homes without a directory, and one over D1."""
    options = SessionOptions(directory=False, check_db=False)
    homes = create_cloudflare_store(
        db=database, streams=env.STREAMS, locks=env.LOCKS, sessions=env.SESSIONS, session_options=options
    )
    return homes, create_cloudflare_store(db=database, streams=env.STREAMS, locks=env.LOCKS)


def _rows(cost: Cost) -> int:
    return int(cost.d1.rows_written or 0) + int(cost.objects.rows_written or 0)


async def _work(store: CloudflareStore, session_id: str, rows: dict[str, int]) -> None:
    """Do each kind of write to one session. Return the rows that each wrote."""
    state_store = store.state_store
    await state_store.create_session(session_id, agent_type="x", exist_ok=True)
    state = await state_store.load_state(session_id, required=True)
    number = len(state.messages)
    patches: dict[str, object] = {"toolCallId": "t", "mergeChanges": {"a": 1}, "timestamp": 1}
    state.messages.append({"role": "user"})
    child = {"subSessionId": f"remote-{number}", "agentType": "y"}
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "save": lambda: state_store.save(state),
        "append": lambda: state_store.append_messages(session_id, [{"role": "user"}]),
        "checkpoint": lambda: state_store.save_checkpoint(session_id),
        "status": lambda: state_store.update_status(session_id, "paused"),
        "stage": lambda: state_store.stage_changes(session_id, "s", patches),
        "promote": lambda: state_store.promote_staging(session_id, "s"),
        "run": lambda: state_store.start_run(session_id, f"r{number}"),
        "update run": lambda: state_store.update_run(session_id, f"r{number}", status="completed"),
        "sub-session": lambda: state_store.add_sub_session_refs(session_id, [child]),
    }
    for name, call in calls.items():
        with store.meter() as meter:
            await call()
        rows[name] = _rows(meter.cost())
