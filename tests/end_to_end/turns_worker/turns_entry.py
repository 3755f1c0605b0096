"""Turns on request, and everything that they leave behind, so that a test outside can compare it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import (
    AgentsStoreError,
    CloudflareStore,
    LockServer,
    StreamServer,
    TurnEndedError,
    create_cloudflare_store,
)

__all__ = ["Default", "LockServer", "StreamServer"]

WORDS = 4
PAUSE_S = 0.02
SPENT = 3


class Default(WorkerEntrypoint):
    """GET /?op=…: migrate, turn, sweep, report."""

    env: Any

    async def fetch(self, request: Request) -> Response:
        """Do one thing, with stores of its own."""
        asked = dict(parse_qsl(urlsplit(request.url).query))
        store = create_cloudflare_store(db=self.env.AGENT_DB, streams=self.env.STREAMS, locks=self.env.LOCKS)
        operations: dict[str, Callable[[CloudflareStore, dict[str, str]], Awaitable[object]]] = {
            "migrate": _migrate,
            "open": _open,
            "turn": _turn,
            "sweep": _sweep,
            "report": _report,
        }
        try:
            answer = await operations[asked["op"]](store, asked)
        except AgentsStoreError as error:
            return Response(json.dumps(error.to_dict()), status=error.http_status)
        return Response(json.dumps(answer))


async def _migrate(store: CloudflareStore, _: dict[str, str]) -> object:
    await store.migrate()
    return None


async def _open(store: CloudflareStore, asked: dict[str, str]) -> object:
    await store.usage_store.set_budget(asked["session"], 1_000_000, "tokens")
    return None


async def _turn(store: CloudflareStore, asked: dict[str, str]) -> object:
    """Speak and commit on the way, end, and answer when everything is stored."""
    session, name = asked["session"], asked["turn"]
    question = {"role": "user", "content": f"question {name}"}
    try:
        async with store.turn(
            session,
            agent_type="x",
            turn_id=name,
            messages=[question],
            wait=8,
            ttl=2,
            budget=(session, 100),
        ) as turn:
            for number in range(WORDS):
                await turn.write({"type": "text", "text": f"{name} {number}"})
                await asyncio.sleep(PAUSE_S)
                if number == 1:
                    _say(turn, f"step {name}")
                    await turn.commit()
            _say(turn, f"answer {name}")
    except TurnEndedError as error:
        return {"status": error.status}
    return {"status": "completed"}


def _say(turn: Any, text: str) -> None:
    turn.add({"role": "assistant", "content": text})
    turn.state.custom_state["last"] = text
    turn.record_tokens(model="m", prompt=SPENT)


async def _sweep(store: CloudflareStore, _: dict[str, str]) -> object:
    return (await store.sweep_turns(1_000)).to_dict()


async def _report(store: CloudflareStore, asked: dict[str, str]) -> object:
    session = asked["session"]
    state = await store.state_store.load_state(session)
    if state is None:
        return None
    checkpoint = await store.state_store.get_latest_checkpoint(session)
    budget = await store.usage_store.get_budget(session)
    entries = await store.usage_store.get_entries(session)
    chunks: list[Any] = []
    if await store.stream_manager.get_info(session) is not None:
        async with store.stream_manager.create_reader(session, follow=False) as reader:
            chunks = [chunk async for chunk in reader]
    return {
        "messages": [message.get("content") for message in state.messages],
        "last": state.custom_state.get("last"),
        "checkpoint": checkpoint
        and checkpoint.state
        and {"count": checkpoint.message_count, "last": checkpoint.state.custom_state.get("last")},
        "runs": [run.to_dict() for run in (await store.state_store.list_runs(session))[::-1]],
        "usage": [[entry.run_id, entry.tokens.total] for entry in entries if entry.tokens],
        "total": (await store.usage_store.get_rollup(session)).tokens.total,
        "budget": budget and [budget.reserved, budget.settled],
        "chunks": chunks,
        "is_locked": await store.locks.is_locked(session),
    }
