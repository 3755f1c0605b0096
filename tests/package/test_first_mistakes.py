"""What a newcomer writes on the first day, and the line that the error names. The wording of JSON, tokens and wiring has its own tests."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agents_store_cloudflare import (
    CloudflareStore,
    CorsPolicy,
    LockObject,
    StateStoreOptions,
    StreamObject,
    StreamOptions,
    SubscriptionOptions,
    create_cloudflare_store,
)
from agents_store_cloudflare.contract.arguments import called_by_its_name
from agents_store_cloudflare.testing import LocalObjects, SqliteDatabase

TURN = r"`async with store\.turn\(…\) as turn:`"
LOCK = r"`async with lock_manager\.lock\(key\) as lock:`"
LOCKS = r"`async with lock_manager\.locks\(keys\) as locks:`"

BLOCKS: list[tuple[Callable[[Any], Any], str]] = [
    (lambda store: store.turn("ada", agent_type="demo"), TURN),
    (lambda store: store.locks.lock("ada"), LOCK),
    (lambda store: store.locks.locks(["ada"]), LOCKS),
]
CALLS: list[tuple[Callable[[Any], Any], str]] = [
    (lambda store: store.state_store.create_session("ada", agent="demo"), r"^D1StateStore\.create_session\(\)"),
    (lambda store: store.state_store.save_checkpoint(), r"^D1StateStore\.save_checkpoint\(\)"),
    (lambda store: store.usage_store.set_budget("team", limit=5), r"^D1UsageStore\.set_budget\(\)"),
    (lambda store: store.usage_store.get_rollup(session="ada"), r"^D1UsageStore\.get_rollup\(\)"),
    (
        lambda store: store.stream_manager.create_reader("ada", since=3),
        r"^DurableObjectStreamManager\.create_reader\(\)",
    ),
    (lambda store: store.turn("ada", agent="demo"), r"^CloudflareStore\.turn\(\)"),
    (
        lambda store: store.locks.lock("ada", agent="demo"),
        r"^DurableObjectLockManager\.lock\(\)|has no option 'agent'",
    ),
]
"""A call with an argument that does not exist, and the call that the error names."""

FLAGS: list[tuple[Callable[[Any], Any], str]] = [
    (lambda store: store.locks.acquire("ada", auto_refresh="false"), "auto_refresh"),
    (lambda store: store.locks.lock("ada", cancel_when_lost="no").__aenter__(), "cancel_when_lost"),
    (lambda store: store.stream_manager.create_reader("ada", follow="no"), "follow"),
    (lambda _: StreamOptions(adaptive="off"), "adaptive"),  # type: ignore[arg-type]
    (lambda _: StateStoreOptions(require_fencing="no"), "require_fencing"),  # type: ignore[arg-type]
    (lambda _: CorsPolicy(allowed_origins=[], allow_credentials="false"), "allow_credentials"),  # type: ignore[arg-type]
    (lambda _: SubscriptionOptions(allow_loopback="false"), "allow_loopback"),  # type: ignore[arg-type]
    (lambda store: store.usage_store.get_rollup("ada", include_sub_agents="no"), "include_sub_agents"),
    *(
        (lambda store, name=name: store.turn("ada", agent_type="demo", **{name: "no"}).__aenter__(), name)
        for name in ("auto_refresh", "stream", "checkpoint", "create")
    ),
]
"""A flag that is given as text, as it comes from an environment variable, and the argument that the error names."""


async def _await(block: Any) -> None:
    await block


async def _enter(block: Any) -> None:
    with block:
        pass


async def _loop(block: Any) -> None:
    async for _ in block:
        pass


def _store() -> CloudflareStore:
    return create_cloudflare_store(
        db=SqliteDatabase(), streams=LocalObjects(StreamObject), locks=LocalObjects(LockObject)
    )


@pytest.mark.parametrize("use", [_await, _enter, _loop])
@pytest.mark.parametrize(("block", "line"), BLOCKS, ids=["turn", "lock", "locks"])
def test_a_block_used_as_something_else_names_its_line(
    use: Callable[[Any], Awaitable[None]], block: Callable[[CloudflareStore], Any], line: str
) -> None:
    """An await, a `with` and a loop: each error shows how the block is entered, and nothing was begun."""

    async def wrongly() -> None:
        store = _store()
        await store.migrate()
        with pytest.raises(TypeError, match=line):
            await use(block(store))
        assert not await store.locks.is_locked("ada")

    asyncio.run(wrongly())


@pytest.mark.parametrize(("call", "shown"), CALLS)
def test_an_argument_that_does_not_exist_names_the_class_that_the_caller_knows(
    call: Callable[[CloudflareStore], Any], shown: str
) -> None:
    """Not the part of the package from which the class inherits the call."""

    async def wrongly() -> None:
        with pytest.raises(TypeError, match=shown):
            async with call(_store()):
                pass

    asyncio.run(wrongly())


@pytest.mark.parametrize(("call", "shown"), FLAGS)
def test_a_flag_is_no_text(call: Callable[[CloudflareStore], Any], shown: str) -> None:
    """The text "false" would count as true."""

    async def wrongly() -> None:
        store = _store()
        await store.migrate()
        with pytest.raises(TypeError, match=f"{shown} must be True or False, not str"):
            await call(store)

    asyncio.run(wrongly())


def test_missing_tables_name_the_call_that_makes_them() -> None:
    """The error of the first call says what was left out."""

    async def wrongly() -> None:
        with pytest.raises(Exception, match=r"no such table.*`await store\.migrate\(\)`"):
            async with _store().turn("ada", agent_type="demo"):
                pass

    asyncio.run(wrongly())


def test_a_protocol_keeps_the_names_of_its_calls() -> None:
    """Other classes inherit them too."""

    class Own:
        def call(self) -> None:
            """Stands for a part of somebody else's."""

    @called_by_its_name
    class Whole(Own):
        pass

    assert Whole.call.__qualname__.endswith("Own.call")  # not a part of this package
