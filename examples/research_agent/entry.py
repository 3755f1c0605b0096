"""The Worker: a page, and the four things one can do with a session.

POST /sessions/{id}/turns    ask; the answer is written to the session's stream while nobody has to wait for it
GET  /sessions/{id}/events   the stream as server-sent events, resumable by Last-Event-ID or ?from=
GET  /sessions/{id}          messages, latest checkpoint, usage, lock
GET  /                       the page, which the platform serves: [assets] in wrangler.toml
"""

import asyncio
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import InvalidArgumentError, LockServer, StreamGateway, StreamServer
from session_view import session_view
from settings import Settings
from stores import Stores
from turn import Turn
from web import MethodNotAllowedError, NotFoundError, error_response, json_response, question_of

# The runtime finds the Durable Object classes by their names in this module.
__all__ = ["Default", "LockServer", "StreamServer"]


class Default(WorkerEntrypoint):
    """Answers HTTP. Everything is built per request: bindings, and what holds them, belong to one request only."""

    async def fetch(self, request: Request) -> Any:
        """Answer one request; a raw `js.Response` where the gateway does."""
        worker = cast("Any", self)
        try:
            return await _Site(worker.env, worker.ctx).answer(request)
        except Exception as error:  # noqa: BLE001 - the last frame there is: everything becomes an answer
            return error_response(error)


class _Site:
    """The endpoints for one request. Not on the class above: every method there can be called over RPC."""

    def __init__(self, env: Any, ctx: Any) -> None:
        self._env = env
        self._ctx = ctx
        self._gateway = StreamGateway(env.STREAMS, prefix="/sessions", authorize=_everybody)

    async def answer(self, request: Request) -> Any:
        method = str(cast("Any", request).js_object.method)
        match method, _path(request):
            case "GET", ["sessions", session_id]:
                return await self._view(session_id)
            case "GET", ["sessions", _, "events"]:
                return await self._gateway.handle(request)
            case "POST", ["sessions", session_id, "turns"]:
                return await self._ask(session_id, await question_of(request))
            case _, ["sessions", _] | ["sessions", _, "events" | "turns"]:
                raise MethodNotAllowedError(f"{method} is not what this endpoint takes")
            case _:
                raise NotFoundError("there is nothing at this path; see the README of examples/research_agent")

    async def _ask(self, session_id: str, question: str) -> Response:
        turn = Turn(self._stores(), Settings.of(self._env))
        # Registered before anything is awaited: when the asker goes away, this handler stops, the turn does not.
        self._ctx.waitUntil(asyncio.create_task(turn.run(session_id, question)))
        started = await turn.started
        body = {"turn": started.turn, "streamId": started.stream_id, "fromSequence": started.from_sequence}
        return json_response(body, status=202)

    async def _view(self, session_id: str) -> Response:
        return json_response(await session_view(self._stores(), session_id))

    def _stores(self) -> Stores:
        return Stores.of(self._env, self._ctx.waitUntil)


def _everybody(*_asked: object) -> bool:
    return True  # who knows a session's name reads it, here; ask for your own users' rights instead


def _path(request: Request) -> list[str]:
    path = urlsplit(request.url).path
    try:
        return [unquote(part, errors="strict") for part in path.split("/")[1:]]
    except UnicodeDecodeError:
        raise InvalidArgumentError("the path is not UTF-8") from None
