"""An agent that asks before it spends: its turn is suspended until somebody presses Approve or Reject.

POST /orders                  {"item": "…"}: a turn that proposes the order, and is suspended POST /orders/{id}/answer {"approve":
true, "pending": "…"}: the turn that resumes the suspended one GET  /orders/{id}             the messages, and the order that waits
for an answer GET  /streams/{id}/events     the agent's words while it says them GET  /                        the page

Everybody may press the button here: put your own sign-in in front of it.
"""

import asyncio
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import (
    AgentsStoreError,
    CloudflareStore,
    InvalidArgumentError,
    LockServer,
    StreamGateway,
    StreamServer,
    create_cloudflare_store,
    parse_json,
)
from buyer import propose, settle

__all__ = ["Default", "LockServer", "StreamServer"]

PAGE = Path(__file__).with_name("page.html")


class Default(WorkerEntrypoint):
    """Answers HTTP."""

    async def fetch(self, request: Request) -> Any:
        """Answer one request. The gateway answers requests below /streams."""
        env = cast("Any", self).env
        store = create_cloudflare_store(db=env.AGENT_DB, streams=env.STREAMS, locks=env.LOCKS)
        gateway = StreamGateway(env.STREAMS, authorize=lambda _request, _id, action: action == "read")
        try:
            return await gateway.handle(request) or await _answer(request, store, float(env.WORD_DELAY_MS) / 1000)
        except AgentsStoreError as error:
            return _json(error.to_dict(), status=error.http_status)


async def _answer(request: Request, store: CloudflareStore, pause_s: float) -> Response:
    match request.method, urlsplit(request.url).path.strip("/").split("/"):
        case "GET", [""]:
            await store.migrate()
            return Response(PAGE.read_text(), headers={"content-type": "text/html; charset=utf-8"})
        case "POST", ["orders"]:
            item = _body(await request.text(), "item", str)
            order_id = secrets.token_hex(8)
            await _propose(store, order_id, item, pause_s)
            return _json({"orderId": order_id}, status=201)
        case "POST", ["orders", order_id, "answer"]:
            text = await request.text()
            approves, pending = _body(text, "approve", bool), _body(text, "pending", str)
            return _json(await _decide(store, order_id, approves=approves, pending=pending, pause_s=pause_s))
        case "GET", ["orders", order_id]:
            return _json(await _view(store, order_id))
        case _:
            return _json({"error": {"code": "not_found", "message": "there is nothing here"}}, status=404)


async def _propose(store: CloudflareStore, order_id: str, item: str, pause_s: float) -> None:
    """Run the turn that ends with a question to a person. Then the pending call is in the state, and the lock is free."""
    asked = {"role": "user", "content": item}
    async with store.turn(order_id, agent_type="buyer", messages=[asked]) as turn:
        words, call = propose(item)
        await _say(turn, words, pause_s)
        await turn.suspend({"pending": turn.id, "call": call})


async def _decide(
    store: CloudflareStore, order_id: str, *, approves: bool, pending: str, pause_s: float
) -> dict[str, object]:
    """Run the turn that goes on. Its id comes from the call that it answers, so a button that is pressed twice decides once."""
    said = {"role": "user", "content": "approved" if approves else "rejected"}
    async with store.turn(order_id, agent_type="buyer", turn_id=f"answer-{pending}", wait=5, create=False) as turn:
        waiting: Any = turn.resumed_from
        if waiting is None or waiting["pending"] != pending:
            raise InvalidArgumentError("no order waits for this answer")
        turn.add(said)
        await _say(turn, settle(waiting["call"], approves=approves), pause_s)
        turn.finish({"approved": approves})
    return {"approved": approves}


async def _say(turn: Any, words: list[str], pause_s: float) -> None:
    for word in words:
        await turn.write({"type": "text", "text": f"{word} "})
        await asyncio.sleep(pause_s)
    turn.add({"role": "assistant", "content": " ".join(words)})
    turn.record_tokens(model="offline", completion=len(words))


async def _view(store: CloudflareStore, order_id: str) -> dict[str, object]:
    state = await store.state_store.load_state(order_id, required=True)
    info = await store.stream_manager.get_info(order_id)
    waiting: Any = state.suspension_context if state.status == "suspended" else None
    return {
        "messages": [{"role": each.get("role"), "content": each.get("content")} for each in state.messages],
        "pending": waiting,
        "position": 0 if info is None else info.last_sequence,
    }


def _body(text: str, name: str, kind: type) -> Any:
    value = parse_json(text, name="the body")
    given = value.get(name) if isinstance(value, dict) else None
    if not isinstance(given, kind) or (isinstance(given, str) and not 0 < len(given) <= 200):
        raise InvalidArgumentError(
            f"the body needs {name!r}: {'1 to 200 characters' if kind is str else 'true or false'}"
        )
    return given


def _json(body: Mapping[str, object], *, status: int = 200) -> Response:
    headers = {"content-type": "application/json; charset=utf-8", "cache-control": "no-store"}
    return Response(json.dumps(body, ensure_ascii=False), status=status, headers=headers)
