"""Wrong bindings are named, with the line to add, before anything obscure happens."""

from types import SimpleNamespace
from typing import Any

import pytest

from agents_store_cloudflare import (
    AgentsStoreError,
    BindingError,
    LockObject,
    StreamObject,
    check_bindings,
    create_cloudflare_store,
    wiring,
)
from agents_store_cloudflare.testing import LocalObjects, SqliteDatabase

D1 = SimpleNamespace(prepare=None)
OBJECTS = SimpleNamespace(idFromName=None)


@pytest.fixture(autouse=True)
def nothing_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make an isolate that has checked nothing yet."""
    monkeypatch.setattr(wiring, "_checked", set[str]())


def test_right_bindings_pass() -> None:
    """CO-11: Raw and wrapped bindings pass. A Worker without locks says so."""
    check_bindings(SimpleNamespace(AGENT_DB=D1, STREAMS=OBJECTS, LOCKS=SimpleNamespace(_binding=OBJECTS)))
    check_bindings(SimpleNamespace(AGENT_DB=D1, STREAMS=OBJECTS), locks=None)


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({}, ["env.AGENT_DB is missing", "env.STREAMS is missing", "env.LOCKS is missing", 'binding = "AGENT_DB"']),
        ({"AGENT_DB": D1, "STREAMS": OBJECTS}, ["env.LOCKS is missing", 'new_sqlite_classes = ["LockServer"]']),
        ({"AGENT_DB": OBJECTS, "STREAMS": D1, "LOCKS": OBJECTS}, ["env.AGENT_DB is not a D1", "env.STREAMS is not"]),
    ],
)
def test_what_is_missing_is_named_with_the_lines_to_add(env: dict[str, Any], told: list[str]) -> None:
    """CO-11: One error has every mistake, with the lines for wrangler.toml."""
    with pytest.raises(BindingError) as caught:
        check_bindings(SimpleNamespace(**env))
    for each in told:
        assert each in str(caught.value)


async def test_exchanged_bindings_are_named_by_migrate() -> None:
    """CO-11: `migrate` asks one object of each class; exchanged ones are named."""
    store = create_cloudflare_store(
        db=SqliteDatabase(), streams=LocalObjects(LockObject), locks=LocalObjects(StreamObject)
    )
    with pytest.raises(BindingError, match=r"should lead to StreamServer leads to LockServer"):
        await store.migrate()


async def test_exchanged_bindings_are_named_by_any_call() -> None:
    """CO-11: a call that reaches an object of the other class says that the bindings are exchanged."""
    store = create_cloudflare_store(
        db=SqliteDatabase(), streams=LocalObjects(LockObject), locks=LocalObjects(StreamObject)
    )
    with pytest.raises(BindingError, match="are exchanged"):
        await store.locks.acquire("k")
    with pytest.raises(BindingError, match="are exchanged"):
        await store.stream_manager.get_info("s")


async def test_migrate_asks_once_an_isolate() -> None:
    """CO-11: In an isolate the first migration makes one call for each class. Later migrations make none."""
    store = create_cloudflare_store(
        db=SqliteDatabase(), streams=LocalObjects(StreamObject), locks=LocalObjects(LockObject)
    )
    for calls in (2, 0):
        with store.meter() as m:
            await store.migrate()
        assert m.objects.calls == calls


def test_a_path_as_database_names_the_class_to_use() -> None:
    """CO-11: A path in place of a database gives an error that names `SqliteDatabase`."""
    with pytest.raises(TypeError, match="SqliteDatabase"):
        create_cloudflare_store(db="agents.db", streams=LocalObjects(StreamObject))


def test_a_binding_error_is_caught_as_the_packages_own() -> None:
    """CO-11: The error belongs to the package and has a code."""
    assert issubclass(BindingError, AgentsStoreError)
    assert BindingError.code == "binding"
