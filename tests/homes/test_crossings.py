"""The calls that a home makes of its database for one call of a Worker. Each crosses from Python to JavaScript."""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from agents_store_cloudflare import CloudflareStore
from agents_store_cloudflare.database.sqlite import SqliteObjectSql
from agents_store_cloudflare.homes import tables
from tests.homes.worlds import HomeWorld

CALLS = ("exec", "exec_each", "cursor", "transaction", "get_text", "put_text", "size_bytes")
QUESTION: Any = {"role": "user", "content": "?"}


@pytest.fixture
async def world() -> HomeWorld:
    return HomeWorld()


@pytest.fixture
async def store(world: HomeWorld) -> CloudflareStore:
    return await world.store(check_db=False)


@contextmanager
def _counted(monkeypatch: pytest.MonkeyPatch) -> Generator[Counter[str]]:
    """Count the calls of every home's database. What a call itself calls does not count."""
    found: Counter[str] = Counter()
    depth = 0

    def counting(name: str) -> Any:
        real = getattr(SqliteObjectSql, name)

        def counted(sql: SqliteObjectSql, *arguments: Any) -> Any:
            nonlocal depth
            found[name] += depth == 0
            if name == "transaction":  # its body calls for itself
                return real(sql, *arguments)
            depth += 1
            try:
                return real(sql, *arguments)
            finally:
                depth -= 1

        return counted

    with monkeypatch.context() as patch:
        for name in CALLS:
            patch.setattr(SqliteObjectSql, name, counting(name))
        yield found


async def test_calls_to_the_database_of_a_home(store: CloudflareStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """HM-1: A save is one transaction and one call for all its statements, and so is a read of a small home. A read of
    a larger one is one call for each of its statements.

    A new home is made in the call of its first save.
    """
    messages = [{"role": "user", "content": str(number)} for number in range(20)]
    await store.state_store.append_messages("ada", messages, create="x")
    state = await store.state_store.load_state("ada", required=True)

    with _counted(monkeypatch) as save:
        state.messages += [QUESTION]
        await store.state_store.save(state)
    with _counted(monkeypatch) as load:
        await store.state_store.load_state("ada", required=True)
    with _counted(monkeypatch) as page:
        await store.state_store.get_messages("ada", limit=5)
    with _counted(monkeypatch) as new:
        await store.state_store.append_messages("bob", messages, create="x")

    assert +save == {"transaction": 1, "exec_each": 1}
    assert +load == {"size_bytes": 1, "exec_each": 1}
    assert +page == {"size_bytes": 1, "exec_each": 1}
    monkeypatch.setattr(tables, "SMALL_BYTES", 0)
    with _counted(monkeypatch) as load_of_large:
        await store.state_store.load_state("ada", required=True)
    assert +load_of_large == {"size_bytes": 1, "cursor": 2}
    assert +new == {"get_text": 1, "transaction": 1, "put_text": 1, "exec_each": 1}


async def test_calls_of_a_turn_to_the_database_of_a_home(
    store: CloudflareStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HM-4: A turn is two transactions, and all statements of each are one call."""

    async def turn() -> None:
        async with store.turn("ada", agent_type="x", messages=[QUESTION], stream=False) as block:
            block.add({"role": "assistant", "content": "hello"})
            block.record_tokens(model="m", prompt=1, completion=1)

    await turn()
    with _counted(monkeypatch) as found:
        await turn()

    assert (found["exec_each"], found["cursor"], found["exec"]) == (2, 0, 0)


@pytest.mark.parametrize("has_directory", [True, False])
async def test_alarms_of_a_first_turn(
    world: HomeWorld, monkeypatch: pytest.MonkeyPatch, *, has_directory: bool
) -> None:
    """HM-4: A home's first turn sets the alarm once, for the directory, although the stream asks first, for a later time."""
    store = await world.store(check_db=False, directory=has_directory)
    set_at: list[int] = []
    host_type = cast("Any", type(world.host("bob")))
    real = host_type.set_alarm

    def noting(host: object, at_ms: int) -> None:
        set_at.append(at_ms - world.clock.now_ms())
        real(host, at_ms)

    monkeypatch.setattr(host_type, "set_alarm", noting)
    async with store.turn("ada", agent_type="x", messages=[QUESTION]) as turn:
        await turn.write({"type": "text", "text": "hello"})
    assert len(set_at) == (1 if has_directory else 2)
    assert (set_at[0] == 1_000) == has_directory
