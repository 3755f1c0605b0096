"""A sample of tests/instruments/test_interference.py on real D1 and Durable Objects: a lost reply, others act, the retry."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import pytest

from agents_store_cloudflare import DurableObjectStreamManager
from agents_store_cloudflare.cloudflare.namespace import as_namespace
from agents_store_cloudflare.contract.errors import AgentsStoreError
from agents_store_cloudflare.database import Database, Row, SqlError, Statement
from agents_store_cloudflare.objects import ObjectCallError, ObjectNamespace
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing.faults import LOST

Act = Callable[[Any, str], Awaitable[Any]]
MESSAGE = {"role": "user", "content": "hello"}


class LosesOneReply:
    """A database, or a namespace, whose first reply is lost after `between` has run."""

    def __init__(self, inner: Any, between: Callable[[], Awaitable[Any]]) -> None:
        self._inner = inner
        self._between: Callable[[], Awaitable[Any]] | None = between

    async def batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        database: Database = self._inner
        rows = await database.batch(statements)
        await self._lose(SqlError(LOST))
        return rows

    async def call(self, name: str, request: str) -> str:
        namespace: ObjectNamespace = self._inner
        reply = await namespace.call(name, request)
        await self._lose(ObjectCallError("Network connection lost.", retryable=True))
        return reply

    async def _lose(self, lost: Exception) -> None:
        between, self._between = self._between, None
        if between is not None:
            await between()
            raise lost


STATE: dict[str, Act] = {
    "append": lambda store, name: store.append_messages(name, [MESSAGE]),
    "count": lambda store, name: store.increment_step_count(name),
    "merge": lambda store, name: store.merge_custom_state(name, {"list": [1]}),
    "truncate": lambda store, name: store.truncate_messages(name, 1),
    "delete": lambda store, name: store.delete_session(name),
    "create": lambda store, name: store.create_session(name, agent_type="x", exist_ok=True),
}
STREAMS: dict[str, Act] = {
    "end": lambda manager, name: manager.end_stream(name, {"answer": 42}),
    "pause": lambda manager, name: manager.pause_stream(name),
    "resume": lambda manager, name: manager.resume_stream(name),
    "reset": lambda manager, name: manager.reset_stream(name),
    "delete": lambda manager, name: manager.delete_stream(name),
}


async def _quiet(act: Act, client: Any, name: str) -> str:
    try:
        result = await act(client, name)
    except AgentsStoreError as error:
        return type(error).__name__
    return str(result) if isinstance(result, int) else type(result).__name__


async def _state(store: D1StateStore, name: str) -> Any:
    state = await store.load_state(name)
    return None if state is None else (state.version, state.step_count, state.custom_state, len(state.messages))


@pytest.mark.parametrize("first", STATE)
async def test_state(database: Any, unique: str, first: str) -> None:
    """ST-10, ST-42: the outcome is that of an order without a loss, whatever another client did before the retry."""
    plain = D1StateStore(database)
    for second, act in STATE.items():
        seen: list[Any] = []
        for kind in ("first, second", "second, first", "lost"):
            name = f"{unique} {second} {kind}"
            state = await plain.create_session(name, agent_type="x")
            await plain.append_messages(state, [MESSAGE, MESSAGE])
            lossy = LosesOneReply(database, partial(_quiet, act, plain, name))
            await _both(D1StateStore(lossy), plain, kind, name, (STATE[first], act))
            seen.append(await _state(plain, name))
        assert seen[2] in seen[:2], (first, second, seen)


@pytest.mark.parametrize("first", STREAMS)
async def test_streams(env: Any, unique: str, first: str) -> None:
    """SM-9: the outcome is that of an order without a loss, whatever another client did before the retry."""
    namespace = as_namespace(env.STREAMS)
    plain = DurableObjectStreamManager(namespace)
    for second, act in STREAMS.items():
        seen: list[Any] = []
        for kind in ("first, second", "second, first", "lost"):
            name = f"{unique} {second} {kind}"
            async with plain.create_writer(name, "a", "t") as writer:
                await writer.write({"type": "text", "text": "hello"})
            lossy = LosesOneReply(namespace, partial(_quiet, act, plain, name))
            await _both(DurableObjectStreamManager(lossy), plain, kind, name, (STREAMS[first], act))
            info = await plain.get_info(name)
            seen.append(None if info is None else (info.status, info.count, info.output))
        assert seen[2] in seen[:2], (first, second, seen)


async def _both(lossy: Any, plain: Any, kind: str, name: str, acts: tuple[Act, Act]) -> None:
    if kind == "lost":
        await _quiet(acts[0], lossy, name)
        return
    for act in acts if kind == "first, second" else acts[::-1]:
        await _quiet(act, plain, name)
