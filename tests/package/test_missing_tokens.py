"""A write that is given None as its fencing token is refused by name: the lock behind it was not acquired."""

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from agents_store_cloudflare import (
    UNSET,
    AgentState,
    CloudflareStore,
    D1StateStore,
    D1UsageStore,
    DurableObjectStreamManager,
    InvalidArgumentError,
    MissingFencingTokenError,
    create_cloudflare_store,
)
from agents_store_cloudflare.durable_streams import StreamObject
from agents_store_cloudflare.testing import LocalObjects, SqliteDatabase

ARGUMENTS: dict[str, object] = {
    "session_id": "s",
    "stream_id": "s",
    "agent_id": "a",
    "agent_type": "t",
    "state": AgentState(session_id="s", agent_type="t"),
    "messages": [{"role": "user", "content": "hello"}],
    "change": {"toolCallId": "t"},
    "changes": {"a": 1},
    "refs": [{"subSessionId": "s/1", "agentType": "t"}],
    "count": 1,
    "expected": ["x"],
    "expected_version": 1,
    "checkpoint_id": "0",
    "keep_last": 1,
    "status": "x",
    "first_sequence": 1,
    "error": "no",
    "entries": [],
}
"""Good values for the parameters of the writes that this test calls. A write with another parameter is called with "x"."""


def _writes(owner: type) -> list[tuple[type, str]]:
    functions = inspect.getmembers(owner, inspect.isfunction)
    return [(owner, name) for name, call in functions if not name.startswith("_") and _takes_a_token(call)]


def _takes_a_token(call: Callable[..., object]) -> bool:
    token = inspect.signature(call).parameters.get("fencing_token")
    return token is not None and token.default is not inspect.Parameter.empty


WRITES = [
    write
    for owner in (CloudflareStore, D1StateStore, D1UsageStore, DurableObjectStreamManager)
    for write in _writes(owner)
]


@pytest.fixture
async def store() -> AsyncIterator[CloudflareStore]:
    database = SqliteDatabase()
    store = create_cloudflare_store(db=database, streams=LocalObjects(StreamObject))
    await store.migrate()
    yield store
    database.close()


def test_every_role_is_covered() -> None:
    assert len(WRITES) >= 35


@pytest.mark.parametrize(("owner", "name"), WRITES, ids=lambda part: getattr(part, "__name__", part))
async def test_none_is_refused_and_leaving_it_out_is_not(store: CloudflareStore, owner: type, name: str) -> None:
    """ST-11, US-15, SM-13: None is no token. The error has its own class, and its remedy names both corrections."""
    target = next(
        part for part in (store, store.state_store, store.usage_store, store.stream_manager) if isinstance(part, owner)
    )
    call = cast("Callable[..., Any]", getattr(target, name))
    parameters = inspect.signature(call).parameters
    assert parameters["fencing_token"].default is UNSET
    given = {
        key: ARGUMENTS.get(key, "x")
        for key, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty or key == "keep_last"
    }
    with pytest.raises(MissingFencingTokenError, match="leave fencing_token out") as refusal:
        await call(**given, fencing_token=None)
    assert isinstance(refusal.value, InvalidArgumentError)
    assert refusal.value.code == "missing_fencing_token"
    assert await store.state_store.load_state("s") is None
