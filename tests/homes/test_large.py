"""Histories that are larger than one reply, or one request."""

import pytest

from agents_store_cloudflare import AgentState, D1StateError, D1StateStore, Message, StaleStateError
from agents_store_cloudflare.homes import answers, tables
from agents_store_cloudflare.objects import ObjectCallError
from agents_store_cloudflare.objects.rpc_text import encode_request
from tests.homes.worlds import HomeWorld


@pytest.fixture
def world() -> HomeWorld:
    return HomeWorld()


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make pages 20,000 characters long, so that tests need not move 40 MB."""
    monkeypatch.setattr(answers, "PAGE_CHARACTERS", 20_000)
    monkeypatch.setattr(tables, "SMALL_BYTES", 0)


def _messages(count: int, size: int = 3_000) -> list[Message]:
    return [{"role": "user", "content": f"{n} ".ljust(size, "é")} for n in range(count)]


async def _filled(store: D1StateStore, session_id: str, count: int) -> list[Message]:
    messages = _messages(count)
    await store.create_session(session_id, agent_type="x")
    for n in range(0, count, 5):
        await store.append_messages(session_id, messages[n : n + 5])
    return messages


@pytest.mark.usefixtures("small_pages")
async def test_a_history_in_pages(world: HomeWorld) -> None:
    """HM-11: a history that does not fit into one reply loads, pages, restores and forks as any other."""
    store = (await world.store()).state_store
    messages = await _filled(store, "ada", 100)
    before = world.sessions.calls
    state = await store.load_state("ada", required=True)
    assert state.messages == messages
    assert world.sessions.calls - before > 5
    page = await store.get_messages("ada", offset=13, limit=50)
    assert list(page) == messages[13:63]
    checkpoint = await store.save_checkpoint("ada")
    await store.append_messages("ada", [{"role": "user", "content": "later"}])
    found = await store.get_checkpoint("ada", checkpoint.id)
    assert found is not None
    assert found.state is not None
    assert found.state.messages == messages
    for fork in ("ada//fork", "bob"):
        forked = await store.fork_session("ada", checkpoint.id, fork)
        assert forked.messages == messages
        assert (await store.load_state(fork, required=True)).messages == messages
    assert (await store.restore_checkpoint("ada", checkpoint.id)).messages == messages
    created = await store.create_session("ada", agent_type="x", exist_ok=True)
    assert created.messages == messages


@pytest.mark.usefixtures("small_pages")
async def test_a_turn_of_a_long_history(world: HomeWorld) -> None:
    """HM-11: a turn enters a session whose history does not fit into one reply."""
    store = await world.store()
    messages = await _filled(store.state_store, "ada", 100)
    async with store.turn("ada", agent_type="x", messages=[{"role": "user", "content": "new"}], stream=False) as turn:
        assert turn.messages == [*messages, {"role": "user", "content": "new"}]
        turn.add({"role": "assistant", "content": "answer"})
    assert (await store.state_store.get_messages("ada")).total == 102


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("changes", [1, 100])
async def test_a_session_that_changes_while_it_is_read(world: HomeWorld, changes: int) -> None:
    """HM-11: The result is one version of the session. If the session changes at every attempt, the call raises an error."""
    store = (await world.store()).state_store
    await _filled(store, "ada", 50)
    real, left = world.sessions.call, changes

    async def call(name: str, request: str) -> str:
        nonlocal left
        if left and '"next"' in request.partition("\n")[0]:
            left -= 1
            other = D1StateStore(store._batches.homes)  # pyright: ignore[reportPrivateUsage]
            world.sessions.call = real  # type: ignore[method-assign]
            stored = await other.load_state("ada", required=True, messages="none")
            await other.replace_messages("ada", _messages(50 + left % 2, 2_000), expected_version=stored.version)
            world.sessions.call = call  # type: ignore[method-assign]
        return await real(name, request)

    world.sessions.call = call  # type: ignore[method-assign]
    if changes > 10:
        with pytest.raises(D1StateError, match="kept changing"):
            await store.load_state("ada")
        return
    state = await store.load_state("ada", required=True)
    assert state.messages == _messages(50, 2_000)
    state.messages.append({"role": "user"})
    await store.save(state)


@pytest.mark.usefixtures("small_pages")
async def test_a_first_reply_that_is_full(world: HomeWorld) -> None:
    """HM-11: The row that fills a page comes once, and the rows after it are not lost, also if there are none."""
    store = (await world.store()).state_store
    for count in (1, 2, 6, 7, 8):
        state = AgentState(session_id=f"s{count}", agent_type="x", custom_state={"big": "x" * 30_000})
        state.messages = _messages(count, 19_000)
        await store.save(state)
        assert await store.load_state(f"s{count}") == state


async def test_a_request_that_is_too_large_for_one_call(world: HomeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """HM-11: A large batch goes in parts. It then runs once, as one transaction, or not at all."""
    monkeypatch.setattr("agents_store_cloudflare.homes.database.MOST_CHARACTERS", 50_000)
    monkeypatch.setattr("agents_store_cloudflare.homes.parts.ROW_CHARACTERS", 7_000)
    store = (await world.store()).state_store
    state = AgentState(session_id="ada", agent_type="x", messages=_messages(100))
    assert await store.save(state) == 1
    assert world.sessions.calls > 5
    assert (await store.load_state("ada", required=True)).messages == state.messages
    assert world.sql("ada").exec("SELECT count(*) FROM __agents_parts") == [[0]]
    stale = AgentState(session_id="ada", agent_type="x", messages=_messages(101))
    with pytest.raises(StaleStateError):
        await store.save(stale)
    assert world.sql("ada").exec("SELECT count(*) FROM __agents_parts") == [[0]]
    assert (await store.get_messages("ada")).total == 100
    fork = await store.fork_session("ada", (await store.save_checkpoint("ada")).id, "bob")
    assert fork.messages == state.messages


async def test_parts_that_nobody_finishes(world: HomeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """HM-11: Parts of a dead Worker are deleted after an hour. A batch whose parts are gone is refused and leaves nothing."""
    monkeypatch.setattr("agents_store_cloudflare.homes.database.MOST_CHARACTERS", 50_000)
    store = (await world.store()).state_store
    real = world.sessions.call

    async def call(name: str, request: str) -> str:
        if '"parts"' in request.partition("\n")[0]:
            await world.pass_time(4_000)
        return await real(name, request)

    world.sessions.call = call  # type: ignore[method-assign]
    state = AgentState(session_id="ada", agent_type="x", messages=_messages(100))
    with pytest.raises(D1StateError, match="parts") as raised:
        await store.save(state)
    assert not raised.value.outcome_unknown
    assert world.sql("ada").exec("SELECT name FROM sqlite_master") == []
    world.sessions.call = real  # type: ignore[method-assign]
    assert await store.save(state) == 1


async def test_parts_that_are_sent_again(world: HomeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """HM-11: A lost reply to a part, or to the whole, is asked for again. The batch runs once."""
    monkeypatch.setattr("agents_store_cloudflare.homes.database.MOST_CHARACTERS", 50_000)
    store = (await world.store()).state_store
    real, calls = world.sessions.call, 0

    async def call(name: str, request: str) -> str:
        nonlocal calls
        calls += 1
        reply = await real(name, request)
        if calls % 3 == 0:
            raise ObjectCallError("lost", retryable=True)
        return reply

    world.sessions.call = call  # type: ignore[method-assign]
    state = AgentState(session_id="ada", agent_type="x", messages=_messages(100))
    assert await store.save(state) == 1
    assert (await store.load_state("ada", required=True)).messages == state.messages


async def test_parts_that_came_before_the_first_session(world: HomeWorld) -> None:
    """HM-11: Parts of an unfinished request are deleted after an hour, also when the home's first session comes in between."""
    request = encode_request("part", {"home": "ada", "request": "r", "part": 0})
    await world.sessions.call("ada", request)
    await world.pass_time(3_590)
    world.sessions.restart()
    store = await world.store(directory_delay=60)
    await store.state_store.create_session("ada", agent_type="x")
    await world.pass_time(10)
    assert world.sql("ada").exec("SELECT 1 FROM sqlite_master WHERE name = '__agents_parts'") == []
