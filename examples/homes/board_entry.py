"""A board of projects. Each project is a session in a home of its own, and a page follows all of them live.

GET    /                       the page
GET    /projects               the newest 50 projects, from the directory: a second behind
POST   /projects               {"name": "…"}: a new project
GET    /projects/{name}?from=n the messages after the first n, and how the last turn stands
POST   /projects/{name}/turns  {"task": "…", "turnId": "…"}: a turn begins, and goes on when the page is gone
DELETE /projects/{name}        the project is deleted; its followers are told
GET    /live/{name}/state      the newest summary after each commit, over a WebSocket or Server-Sent Events

There is no model: `steps.py` makes up the work. Everybody may do everything here: put your own sign-in in front of it.
"""

import asyncio
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import (
    AgentsStoreError,
    CloudflareStore,
    InvalidArgumentError,
    LockServer,
    SessionServer,
    StateNotFoundError,
    StreamGateway,
    StreamServer,
    create_cloudflare_store,
    parse_json,
)
from agents_store_cloudflare.gateway import SessionStates
from agents_store_cloudflare.turns import Turn
from steps import steps_of

__all__ = ["Default", "LockServer", "SessionServer", "StreamServer"]

PAGE = Path(__file__).with_name("page.html")
NAME = re.compile(r"[\w .-]{1,40}")
AGENT = "worker"


class Default(WorkerEntrypoint):
    """Answers HTTP."""

    async def fetch(self, request: Request) -> Any:
        """Answer one request. The gateway answers requests below /live."""
        worker = cast("Any", self)
        env = worker.env
        store = create_cloudflare_store(db=env.AGENT_DB, streams=env.STREAMS, locks=env.LOCKS, sessions=env.SESSIONS)
        states = SessionStates(env.SESSIONS, prefix="/live")
        gateway = StreamGateway(store.stream_namespace, authorize=_may, faces=[states])
        try:
            return await gateway.handle(request) or await _Board(store, env, worker.ctx).answer(request)
        except AgentsStoreError as error:
            return _json(error.to_dict(), status=error.http_status)


def _may(_request: Request, _session_id: str, action: str) -> bool:
    return action == "follow"


class _Board:
    """The endpoints for one request."""

    def __init__(self, store: CloudflareStore, env: Any, ctx: Any) -> None:
        self._store = store
        self._state = store.state_store
        self._env = env
        self._ctx = ctx

    async def answer(self, request: Request) -> Response:
        url = urlsplit(request.url)
        match request.method, [unquote(part) for part in url.path.strip("/").split("/")]:
            case "GET", [""]:
                await self._store.migrate()
                return Response(PAGE.read_text(), headers={"content-type": "text/html; charset=utf-8"})
            case "GET", ["projects"]:
                return _json({"projects": [state.session_id for state in await self._state.list_sessions(limit=50)]})
            case "POST", ["projects"]:
                return _json({"name": await self._added(_text_in(await request.text(), "name"))}, status=201)
            case method, ["projects", name, *rest]:
                return await self._of_project(request, method, name, rest)
            case _:
                return _nothing()

    async def _of_project(self, request: Request, method: str, name: str, rest: list[str]) -> Response:
        match method, rest:
            case "GET", []:
                return _json(await self._view(name, _position(urlsplit(request.url).query)))
            case "DELETE", []:
                return _json({"deleted": await self._store.delete_session(name)})
            case "POST", ["turns"]:
                text = await request.text()
                await self._begin(name, _text_in(text, "task"), _text_in(text, "turnId"))
                return Response("", status=202)
            case _:
                return _nothing()

    async def _added(self, name: str) -> str:
        if NAME.fullmatch(name) is None:
            raise InvalidArgumentError("a name has 1 to 40 letters, digits, spaces, '_', '.' or '-'")
        return (await self._state.create_session(name, agent_type=AGENT, exist_ok=True)).session_id

    async def _view(self, name: str, position: int) -> dict[str, object]:
        is_there, page, runs = await asyncio.gather(
            self._state.exists(name),
            self._state.get_messages(name, offset=position),
            self._state.list_runs(name, limit=1),
        )
        if not is_there:
            raise StateNotFoundError(name)
        return {
            "messages": [{"role": each.get("role"), "content": each.get("content")} for each in page],
            "total": page.total,
            "turn": runs[0].status if runs else None,
        }

    async def _begin(self, name: str, task: str, turn_id: str) -> None:
        """Start a turn under waitUntil: it goes on when the page is gone. An error before it has begun is the caller's."""
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asked = {"role": "user", "content": task}

        async def run() -> None:
            try:
                async with self._store.turn(
                    name,
                    agent_type=AGENT,
                    turn_id=turn_id,
                    messages=[asked],
                    stream=False,
                    create=False,
                    ttl=float(self._env.LOCK_TTL_S),
                ) as turn:
                    begun.set_result(None)
                    await _work(turn, task, float(self._env.STEP_DELAY_MS) / 1000)
            except Exception as error:
                if begun.done():
                    raise  # the followers see a failed turn; this is for the log
                begun.set_exception(error)

        self._ctx.waitUntil(asyncio.create_task(run()))
        await begun


async def _work(turn: Turn, task: str, pause_s: float) -> None:
    """Do the steps. Each commit is a summary for the followers."""
    for step in steps_of(task):
        await asyncio.sleep(pause_s)
        turn.add({"role": "assistant", "content": step})
        turn.state.step_count += 1
        await turn.commit()


def _text_in(body: str, name: str) -> str:
    value = parse_json(body, name="the body")
    text = value.get(name) if isinstance(value, dict) else None
    if not isinstance(text, str) or not 0 < len(text) <= 200:
        raise InvalidArgumentError(f"the body needs {name!r}: 1 to 200 characters")
    return text


def _position(query: str) -> int:
    given = parse_qs(query).get("from", ["0"])[0]
    if not given.isdecimal() or len(given) > 15:
        raise InvalidArgumentError("from must be the number of messages that you have")
    return int(given)


def _nothing() -> Response:
    return _json({"error": {"code": "not_found", "message": "there is nothing here"}}, status=404)


def _json(body: Mapping[str, object], *, status: int = 200) -> Response:
    headers = {"content-type": "application/json; charset=utf-8", "cache-control": "no-store"}
    return Response(json.dumps(body, ensure_ascii=False), status=status, headers=headers)
