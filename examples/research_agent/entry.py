"""The Worker: a page, and the requests about a session.

POST /sessions/{id}/turns    ask; the answer is written to the session's stream, and the request does not wait for it GET
/sessions/{id}/events   the stream as server-sent events, resumable by Last-Event-ID or ?from= GET  /sessions/{id}
messages, latest checkpoint, usage, lock GET  /console                the operator's console, on your own machine only GET  /
the page, which the platform serves: [assets] in wrangler.toml

A cron trigger closes the turns of Workers that died, and their readers hear of it.
"""

import asyncio
import logging
import sys
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import (
    CloudflareStore,
    InvalidArgumentError,
    LockServer,
    OperatorConsole,
    StreamGateway,
    StreamServer,
)
from session_view import session_view
from settings import Settings
from stores import store_of
from turn import Started, answer
from web import MethodNotAllowedError, NotFoundError, error_response, json_response, question_of

# The runtime finds the Durable Object classes by their names in this module.
__all__ = ["Default", "LockServer", "StreamServer"]

logging.basicConfig(level=logging.INFO, stream=sys.stdout)  # what comes to stderr is shown as an error


class Default(WorkerEntrypoint):
    """Answers HTTP. Everything is built for each request, because bindings, and objects that hold them, belong to one request."""

    async def fetch(self, request: Request) -> Any:
        """Answer one request. Answers of the gateway are raw `js.Response` objects."""
        worker = cast("Any", self)
        try:
            return await _Site(worker.env, worker.ctx).answer(request)
        except Exception as error:  # noqa: BLE001 - the outermost frame: every error becomes an answer
            return error_response(error)

    async def scheduled(self, _controller: object, _env: object, _ctx: object) -> None:
        """Close the turns of Workers that died. Running turns are left alone."""
        worker = cast("Any", self)
        await store_of(worker.env, worker.ctx.waitUntil).sweep_turns()


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
            case _, ["console", *_]:
                return await OperatorConsole(self._store(), authorize=_on_this_machine).handle(request)
            case _, ["sessions", _] | ["sessions", _, "events" | "turns"]:
                raise MethodNotAllowedError(f"{method} is not what this endpoint takes")
            case _:
                raise NotFoundError("there is nothing at this path; see the README of examples/research_agent")

    async def _ask(self, session_id: str, question: str) -> Response:
        begun: asyncio.Future[Started] = asyncio.get_running_loop().create_future()
        # This stands before the first await: when the client goes away, the handler stops, but the turn goes on.
        turn = answer(self._store(), Settings.of(self._env), session_id, question, begun)
        self._ctx.waitUntil(asyncio.create_task(turn))
        started = await begun
        body = {"turn": started.turn, "streamId": started.stream_id, "fromSequence": started.from_sequence}
        return json_response(body, status=202)

    async def _view(self, session_id: str) -> Response:
        return json_response(await session_view(self._store(), session_id))

    def _store(self) -> CloudflareStore:
        return store_of(self._env, self._ctx.waitUntil)


def _everybody(*_asked: object) -> bool:
    return True  # here everybody who knows a session's name may read it; check the rights of your users instead


def _on_this_machine(request: Request, _action: str) -> bool:
    # Nobody signs in here, so only `make dev` shows the console, because a deployed Worker has another host name. Check for your
    # own operators instead.
    return urlsplit(request.url).hostname in ("localhost", "127.0.0.1")


def _path(request: Request) -> list[str]:
    path = urlsplit(request.url).path
    try:
        return [unquote(part, errors="strict") for part in path.split("/")[1:]]
    except UnicodeDecodeError:
        raise InvalidArgumentError("the path is not UTF-8") from None
