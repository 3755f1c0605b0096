"""A chat page of the AI SDK whose answers survive a reload, a lost connection and a dead server, and stop from any tab.

POST /api/chat               the AI SDK's request: the answer is written under waitUntil, and followed
GET  /api/chat/{id}          the stored messages
GET  /api/chat/{id}/stream   the answer that is being written, from its beginning; 204 when there is none
POST /api/chat/{id}/stop     {"messageId": "…"}: the answer stops, whoever listens

There is no model: the answer is made up. Whoever knows the id of a chat may read it: put your own sign-in in front of it.
"""

import asyncio
import json
from collections.abc import Iterable, Iterator
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from workers import Request, Response, WorkerEntrypoint

from agents_store_cloudflare import (
    AgentsStoreError,
    CloudflareStore,
    InvalidArgumentError,
    LockServer,
    StreamOptions,
    StreamServer,
    create_cloudflare_store,
    parse_json,
)
from agents_store_cloudflare.adapters.ui import MessageStreams, request_stop, stop_requested
from agents_store_cloudflare.turns import Turn

__all__ = ["Default", "LockServer", "StreamServer"]

SUFFIX = "-answer"
"""The id of an answer is that of its question, which is the id of the turn, with this at its end."""

WORDS_BETWEEN_LOOKS = 10
"""So often the turn looks whether somebody has asked it to stop. A real agent looks once a second."""


class Default(WorkerEntrypoint):
    """Answers HTTP. The platform serves the page's files."""

    async def fetch(self, request: Request) -> Any:
        """Answer one request."""
        worker = cast("Any", self)
        try:
            return await _answer(request, worker.env, worker.ctx)
        except AgentsStoreError as error:
            return _json(error.to_dict(), status=error.http_status)

    async def scheduled(self, _controller: object, _env: object, _ctx: object) -> None:
        """Close the turns of Workers that died: their pages get an error, and may ask again."""
        worker = cast("Any", self)
        await _store(worker.env, worker.ctx).sweep_turns()


async def _answer(request: Request, env: Any, ctx: Any) -> Any:
    store = _store(env, ctx)
    await store.migrate()  # a new database has no tables: an isolate's first request makes them
    pages = MessageStreams(store.stream_namespace)
    match request.method, [unquote(part) for part in urlsplit(request.url).path.strip("/").split("/")]:
        case "POST", ["api", "chat"]:
            chat_id, question = _asked(await request.text())
            turn = await _begun(store, env, ctx, chat_id, question)
            return await pages.follow(turn.stream_id, turn.from_sequence)
        case "GET", ["api", "chat", chat_id, "stream"]:
            return await pages.resume(chat_id)
        case "GET", ["api", "chat", chat_id]:
            state = await store.state_store.load_state(chat_id)
            return _json([] if state is None else state.messages)
        case "POST", ["api", "chat", chat_id, "stop"]:
            answer_id = _text_in(parse_json(await request.text(), name="the body"), "messageId")
            await request_stop(store.state_store, chat_id, answer_id.removesuffix(SUFFIX))
            return Response("", status=202)
        case _:
            return _json({"error": {"code": "not_found", "message": "there is nothing here"}}, status=404)


def _store(env: Any, ctx: Any) -> CloudflareStore:
    return create_cloudflare_store(
        db=env.AGENT_DB,
        streams=env.STREAMS,
        locks=env.LOCKS,
        stream_options=StreamOptions(wait_until=ctx.waitUntil),
    )


async def _begun(store: CloudflareStore, env: Any, ctx: Any, chat_id: str, question: dict[str, Any]) -> Turn:
    """Start the turn under waitUntil: it goes on when the page is gone. An error before it has begun is the caller's."""
    begun: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()

    async def run() -> None:
        try:
            async with store.turn(
                chat_id, agent_type="chat", turn_id=question["id"], messages=[question], ttl=float(env.LOCK_TTL_S)
            ) as turn:
                begun.set_result(turn)
                await _write_answer(turn, question, float(env.WORD_DELAY_MS) / 1000)
        except Exception as error:
            if begun.done():
                raise  # the block has told the page; this is for the log
            begun.set_exception(error)

    ctx.waitUntil(asyncio.create_task(run()))
    return await begun


async def _write_answer(turn: Turn, question: dict[str, Any], pause_s: float) -> None:
    answer_id, said = f"{turn.id}{SUFFIX}", ""
    await turn.write({"type": "start", "messageId": answer_id})
    await turn.write({"type": "text-start", "id": "t"})
    is_stopped = False
    for number, word in enumerate(_words(question), start=1):
        await turn.write({"type": "text-delta", "id": "t", "delta": word})
        said += word
        await asyncio.sleep(pause_s)
        if number % WORDS_BETWEEN_LOOKS == 0 and (is_stopped := await stop_requested(turn)):
            break
    await turn.write({"type": "text-end", "id": "t"})
    await turn.write({"type": "abort"} if is_stopped else {"type": "finish", "finishReason": "stop"})
    turn.add({"id": answer_id, "role": "assistant", "parts": [{"type": "text", "text": said}]})
    turn.finish(status="aborted" if is_stopped else "completed")


def _words(question: dict[str, Any]) -> Iterator[str]:
    text = "".join(str(part.get("text", "")) for part in question["parts"])
    if text.startswith("Fail"):
        yield "This answer breaks off"
        raise RuntimeError("asked to fail")
    yield from (f"{word} " for word in f"You asked: {text}".split())
    for number in range(1, 13):
        yield from (
            f"{word} "
            for word in f"Sentence {number} is stored before you read it, and read again if you come back.".split()
        )


def _asked(body: str) -> tuple[str, dict[str, Any]]:
    """Return the chat and the last message, which must be a question of the user's."""
    value = _object(parse_json(body, name="the body"))
    last = _object((_list(value.get("messages")) or [None])[-1])
    if last.get("role") != "user":
        raise InvalidArgumentError("the last of `messages` must be the user's; this page does not regenerate")
    parts = [{"type": "text", "text": _text_in(part, "text")} for part in _list(last.get("parts"))]
    if sum(len(part["text"]) for part in parts) > 2_000:
        raise InvalidArgumentError("a question has at most 2,000 characters")
    return _text_in(value, "id"), {"id": _text_in(last, "id"), "role": "user", "parts": parts}


def _text_in(value: object, name: str) -> str:
    text = _object(value).get(name)
    if not isinstance(text, str) or not text:
        raise InvalidArgumentError(f"{name!r} must be text")
    return text


def _object(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return list(cast("Iterable[Any]", value)) if isinstance(value, list) else []


def _json(body: object, *, status: int = 200) -> Response:
    headers = {"content-type": "application/json; charset=utf-8", "cache-control": "no-store"}
    return Response(json.dumps(body, ensure_ascii=False), status=status, headers=headers)
