"""A chat whose answers survive a reload, a lost connection, and a browser that comes back tomorrow.

POST /chats               {"question": "…"}: the answer is written into a stream, and the request does not wait for it GET
/chats/{id}?from=n   signed addresses of the chat's events, valid for a minute, for the visitor who asked /streams/… the gateway:
the events themselves GET  /                    the page
"""

import asyncio
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import (
    AgentsStoreError,
    DurableObjectStreamManager,
    InvalidArgumentError,
    StreamAction,
    StreamGateway,
    StreamServer,
    StreamUrlSigner,
    parse_json,
)
from words import answer_words

__all__ = ["Default", "StreamServer"]

PAGE = Path(__file__).with_name("page.html")
ACCESS_S = 60


class Default(WorkerEntrypoint):
    """Answers HTTP."""

    async def fetch(self, request: Request) -> Any:
        """Answer one request. The gateway answers requests below /streams."""
        worker = cast("Any", self)
        site = _Site(worker.env, worker.ctx, _visitor(request))
        try:
            return await site.gateway.handle(request) or await site.answer(request)
        except AgentsStoreError as error:
            return _json(error.to_dict(), status=error.http_status)


class _Site:
    """The endpoints for one request of one visitor."""

    def __init__(self, env: Any, ctx: Any, visitor: str) -> None:
        self._env = env
        self._ctx = ctx
        self._visitor = visitor
        # The cookie is a secret, but ids appear in URLs and logs. So a chat has a name that only the key can make from the cookie.
        self._owner = hmac.new(env.SIGNING_KEY.encode(), f"visitor {visitor}".encode(), hashlib.sha256).hexdigest()[:32]
        self.gateway = StreamGateway(env.STREAMS, authorize=self._may, signer=StreamUrlSigner({"k1": env.SIGNING_KEY}))

    async def answer(self, request: Request) -> Response:
        url = urlsplit(request.url)
        match request.method, url.path.strip("/").split("/"):
            case "GET", [""]:
                headers = {"content-type": "text/html; charset=utf-8", "cache-control": "no-store"}
                cookie = f"visitor={self._visitor}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax"
                return Response(PAGE.read_text(), headers={**headers, "set-cookie": cookie})
            case "POST", ["chats"] if self._is_own_page(request):
                return _json({"chatId": await self._ask(_question(await request.text()))}, status=202)
            case "GET", ["chats", chat_id] if self._may(request, chat_id, "read"):
                return _json(self._addresses(chat_id, _position(url.query)))
            case _:
                return _json({"error": {"code": "not_found", "message": "there is nothing here for you"}}, status=404)

    @staticmethod
    def _is_own_page(request: Request) -> bool:
        """Return whether the request comes from no other site's page. A browser would add the visitor's cookie to such a request."""
        url, origin = urlsplit(request.url), request.headers.get("origin")
        return origin is None or origin == f"{url.scheme}://{url.netloc}"

    async def _ask(self, question: str) -> str:
        chat_id = f"{self._owner}-{secrets.token_hex(8)}"
        streams = DurableObjectStreamManager(self._env.STREAMS, wait_until=self._ctx.waitUntil)
        writer = await streams.create_writer(chat_id, "words", "chat")

        async def generate() -> None:
            async with writer:
                for word in answer_words(question):
                    await writer.write({"type": "text", "text": word})
                    await asyncio.sleep(float(self._env.WORD_DELAY_MS) / 1000)
            await streams.end_stream(chat_id, {"question": question})

        # The client may go away, but the answer goes on.
        self._ctx.waitUntil(asyncio.create_task(generate()))
        return chat_id

    def _addresses(self, chat_id: str, position: int) -> dict[str, object]:
        def signed(wire: Any) -> str:
            return self.gateway.signed_path(chat_id, wire=wire, expires_in=ACCESS_S, from_sequence=position)

        return {"events": signed("events"), "socket": signed("socket")}

    def _may(self, _request: Request, chat_id: str, action: StreamAction) -> bool:
        """Allow each visitor to read their own chats. A signed address is admitted without this check."""
        return action == "read" and chat_id.startswith(f"{self._owner}-")


def _visitor(request: Request) -> str:
    try:
        known = SimpleCookie(request.headers.get("cookie") or "").get("visitor")
    except CookieError:
        known = None
    return known.value if known is not None and known.value.isalnum() else secrets.token_hex(16)


def _question(body: str) -> str:
    value = parse_json(body, name="the body")
    question = value.get("question") if isinstance(value, dict) else None
    if not isinstance(question, str) or not 0 < len(question) <= 2_000:
        raise InvalidArgumentError('the body must be {"question": "…"} with 1 to 2,000 characters')
    return question


def _position(query: str) -> int:
    given = parse_qs(query).get("from", ["0"])[0]
    if not given.isdecimal() or len(given) > 15:
        raise InvalidArgumentError("from must be the number of the last chunk received")
    return int(given)


def _json(body: Mapping[str, object], *, status: int = 200) -> Response:
    headers = {"content-type": "application/json; charset=utf-8", "cache-control": "no-store"}
    return Response(json.dumps(body, ensure_ascii=False), status=status, headers=headers)
