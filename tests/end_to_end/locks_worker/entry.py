"""One call to a store or a lock per request, so that a test outside sees each one begin and end."""

import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import (
    ANY_VERSION,
    AgentsStoreError,
    AgentState,
    CloudflareStore,
    LockServer,
    StaleFencingTokenError,
    StreamServer,
    create_cloudflare_store,
)
from agents_store_cloudflare.cloudflare.namespace import as_namespace
from agents_store_cloudflare.objects.rpc_text import decode_reply, encode_request

__all__ = ["Default", "LockServer", "StreamServer"]


class Default(WorkerEntrypoint):
    """GET /?op=…: the operations of a history."""

    env: Any

    async def fetch(self, request: Request) -> Response:
        """Do one thing."""
        asked = dict(parse_qsl(urlsplit(request.url).query))
        store = create_cloudflare_store(db=self.env.AGENT_DB, streams=self.env.STREAMS, locks=self.env.LOCKS)
        operations: dict[str, Callable[[CloudflareStore, dict[str, str]], Awaitable[object]]] = {
            "migrate": _migrate,
            "grant": _grant,
            "write": _write,
            "append": _append,
            "read": _read,
            "contents": _contents,
        }
        try:
            if asked["op"] in ("refresh", "release"):
                return _answer(await self._of_token(asked))
            return _answer(await operations[asked["op"]](store, asked))
        except StaleFencingTokenError:
            return _answer(None, "refused")
        except AgentsStoreError as error:
            if not error.outcome_unknown:
                raise
            return _answer(None, "unknown")

    async def _of_token(self, asked: dict[str, str]) -> object:
        """Do the work of a `Lock` for a caller who has only its token, which may be from before a restart."""
        call = encode_request(
            asked["op"], {"key": asked["key"], "fencingToken": int(asked["token"]), "ttlMs": int(asked["ttl_ms"])}
        )
        return decode_reply(await as_namespace(self.env.LOCKS).call(asked["key"], call)).head["ok"]


def _answer(value: object, outcome: str = "ok") -> Response:
    return Response(json.dumps({"value": value, "outcome": outcome}))


async def _migrate(store: CloudflareStore, asked: dict[str, str]) -> object:
    return await store.migrate()


async def _grant(store: CloudflareStore, asked: dict[str, str]) -> object:
    lock = await store.locks.acquire(asked["key"], ttl_ms=int(asked["ttl_ms"]), wait=float(asked["wait"]))
    return None if lock is None else [lock.fencing_token, lock.expires_at]


async def _write(store: CloudflareStore, asked: dict[str, str]) -> object:
    state = AgentState(session_id=asked["resource"], agent_type="x", custom_state={"value": asked["value"]})
    return await store.state_store.save_state(
        state.session_id, state, expected_version=ANY_VERSION, fencing_token=int(asked["token"])
    )


async def _append(store: CloudflareStore, asked: dict[str, str]) -> object:
    token = int(asked["token"])
    async with store.stream_manager.create_writer(asked["resource"], "a", "x", fencing_token=token) as writer:
        await writer.write({"type": "t", "value": asked["value"]})
    return None


async def _read(store: CloudflareStore, asked: dict[str, str]) -> object:
    state = await store.state_store.load_state(asked["resource"], messages="none")
    return None if state is None else state.custom_state["value"]


async def _contents(store: CloudflareStore, asked: dict[str, str]) -> object:
    """Return all of a log, and end it."""
    if await store.stream_manager.get_info(asked["resource"]) is None:
        return []
    await store.stream_manager.end_stream(asked["resource"])
    async with store.stream_manager.create_reader(asked["resource"]) as reader:
        return [chunk["value"] async for chunk in reader]
