"""A Worker with homes: /append/{session}/{number}, /turn/{session}/{number}, /look/{session}, /list, /sweep."""

import json
from typing import Any

from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import (
    CloudflareStore,
    LockServer,
    SessionServer,
    StreamServer,
    create_cloudflare_store,
)

__all__ = ["Default", "LockServer", "SessionServer", "StreamServer"]


class Default(WorkerEntrypoint):
    """The door for the test."""

    env: Any

    async def fetch(self, request: Request) -> Response:
        """Answer one command."""
        call, session_id, number = [*request.url.split("/")[3:], "", "", ""][:3]
        env = self.env
        store = create_cloudflare_store(db=env.AGENT_DB, streams=env.STREAMS, locks=env.LOCKS, sessions=env.SESSIONS)
        found: object = None
        match call:
            case "migrate":
                await store.migrate()
            case "append":
                await store.state_store.create_session(session_id, agent_type="x", exist_ok=True)
                await store.state_store.append_messages(session_id, [{"role": "user", "content": number}])
            case "turn":
                await _turn(store, session_id, number)
            case "look":
                found = await _look(store, session_id)
            case "list":
                found = await _list(store)
            case "sweep":
                found = list((await store.sweep_turns()).closed)
            case _:
                pass
        return Response(json.dumps(found))


async def _turn(store: CloudflareStore, session_id: str, number: str) -> None:
    async with store.turn(session_id, agent_type="x", turn_id=number, wait=5, ttl=5) as turn:
        await turn.write({"type": "text", "n": number})
        turn.add({"role": "assistant", "content": number})
        turn.record_tokens(model="m", prompt=1, completion=1)


async def _look(store: CloudflareStore, session_id: str) -> dict[str, Any] | None:
    state = await store.state_store.load_state(session_id)
    if state is None:
        return None
    chunks: list[Any] = []
    if await store.stream_manager.get_info(session_id) is not None:
        async with store.stream_manager.create_reader(session_id, follow=False) as reader:
            chunks = [chunk async for chunk in reader]
    usage = await store.usage_store.get_entries(session_id, limit=100)
    checkpoints = await store.state_store.list_checkpoints(session_id, limit=100, include_state=False)
    return {
        "version": state.version,
        "messages": [message.get("content") for message in state.messages],
        "ends": [chunk["turnId"] for chunk in chunks if chunk["type"] == "turn-end"],
        "told": [chunk["n"] for chunk in chunks if chunk["type"] == "text"],
        "usage": len(list(usage)),
        "checkpoints": len(checkpoints.items),
    }


async def _list(store: CloudflareStore) -> dict[str, int]:
    listed: dict[str, int] = {}
    cursor: str | None = None
    while True:
        page = await store.state_store.list_sessions(limit=100, cursor=cursor)
        listed |= {state.session_id: state.version for state in page.items}
        cursor = page.next_cursor
        if cursor is None:
            return listed
