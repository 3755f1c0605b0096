"""Requests that concern several streams: the copy of a fork, and a deletion that frees the paths of sources."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final

from agents_store_cloudflare.cloudflare.http import read_body
from agents_store_cloudflare.contract.json_values import JsonObject, JsonValue
from agents_store_cloudflare.durable_streams.answers import BEGUN_HEADER, LIFE_HEADER, SECURITY_HEADERS
from agents_store_cloudflare.durable_streams.fork_request import ForkRequest
from agents_store_cloudflare.durable_streams.messages import MAX_FORK_BODY_BYTES
from agents_store_cloudflare.durable_streams.operations import PREFIX
from agents_store_cloudflare.objects.http_messages import HttpRequest, HttpResponse
from agents_store_cloudflare.objects.rpc_text import WireMessage
from agents_store_cloudflare.streams.stream_client import StreamClient

__all__ = ["ForkCopies"]

LOOKED_AFTER_AT_ONCE: Final = 20


class ForkCopies:
    """Calls the objects of streams that are forks of each other. Every call is safe to repeat."""

    def __init__(self, streams: StreamClient) -> None:
        self._streams = streams

    async def delete(self, stream_id: str) -> HttpResponse:
        """Delete a stream.

        If it was the last fork of a deleted source, the path of the source becomes free too. The same holds for the source's
        source.
        """
        reply = await self._ask(stream_id, "delete", {"commitId": secrets.token_hex(8)})
        if (refused := _answer_in(reply)) is not None:
            return refused
        await self._release(stream_id, reply.head["ok"]["sourceId"])
        gone: dict[str, Any] = reply.head["ok"]
        life = {LIFE_HEADER: str(gone["life"]), BEGUN_HEADER: str(gone["begun"])}
        return HttpResponse(status=204, headers={**SECURITY_HEADERS, **life, "cache-control": "no-store"})

    async def look_after(self, stream_id: str) -> bool:
        """Let a deleted stream forget forks that are gone. Return whether there were such forks."""
        reply = await self._ask(stream_id, "forks", {"most": LOOKED_AFTER_AT_ONCE})
        return await self._forget_gone(stream_id, reply.head["ok"]["forks"])

    async def fork(self, stream_id: str, request: HttpRequest, original: object, fork: ForkRequest) -> HttpResponse:
        """Make a stream that begins with a copy of another one, page by page."""
        body = request.body if original is request else await read_body(original, MAX_FORK_BODY_BYTES)
        if body is None or len(body) > MAX_FORK_BODY_BYTES:
            message = f"the first body of a fork may have {MAX_FORK_BODY_BYTES:,} bytes; append the rest"
            return HttpResponse.refusal(413, "body_too_large", message, headers=SECURITY_HEADERS)
        headers: JsonObject = {**request.headers}
        target: JsonObject = {
            "url": request.url,
            "headers": headers,
            "body": body.decode("latin-1"),
            "token": secrets.token_hex(8),
            **fork.arguments(),
        }
        asked = await self._ask(stream_id, "fork", {**target, "step": "ask"})
        if (answer := _answer_in(asked)) is not None:
            return answer
        return await self._copied(stream_id, target, request.header("Content-Type"), fork)

    async def _copied(
        self, stream_id: str, target: JsonObject, content_type: str | None, fork: ForkRequest
    ) -> HttpResponse:
        source: JsonObject = {
            "forkId": stream_id,
            "offset": fork.offset,
            "subOffset": fork.sub_offset,
            "contentType": content_type,
        }
        number = 0
        place: dict[str, Any] = {"after": None, "point": None, "others": []}
        others: list[tuple[str, bool]] = []
        while True:
            asked: JsonObject = {**source, "after": place["after"], "point": place["point"]}
            page = await self._ask(fork.source_id, "export", asked)
            if (answer := _answer_in(page)) is not None:
                return answer
            place = page.head["ok"]
            others += place["others"]
            if not place["isLooking"]:
                step: JsonObject = {"step": "make" if place["isLast"] else "page", "page": number}
                copied: JsonObject = {"facts": place["facts"], "point": place["point"]}
                made = await self._ask(stream_id, "fork", {**target, **step, **copied}, page.payload)
                if (answer := _answer_in(made)) is not None:
                    await self._forget_gone(fork.source_id, others)
                    return answer
                number += 1

    async def _release(self, fork_id: str, source_id: str | None) -> None:
        """Tell a source that its fork is gone. A deleted source that has lost its last fork tells its own source, and so on."""
        while source_id is not None:
            reply = await self._ask(source_id, "release", {"forkId": fork_id})
            fork_id, source_id = source_id, reply.head["ok"]["sourceId"]

    async def _forget_gone(self, stream_id: str, forks: Sequence[tuple[str, bool]]) -> bool:
        """Release the forks that are gone. A fork that was never made may still be on its way, so it stays."""
        has_changed = False
        for fork_id, is_under_way in forks:
            reply = await self._ask(fork_id, "source", {})
            fork = reply.head["ok"]
            if fork["sourceId"] != stream_id and (fork["wasMade"] or not is_under_way):
                await self._release(fork_id, stream_id)
                has_changed = True
        return has_changed

    async def _ask(self, stream_id: str, op: str, arguments: JsonObject, payload: str = "") -> WireMessage:
        return await self._streams.call(stream_id, PREFIX + op, arguments, payload)


def _answer_in(reply: WireMessage) -> HttpResponse | None:
    """Return the HTTP answer that an object has put into its reply."""
    given: dict[str, Any] = reply.head["ok"]
    answer: dict[str, JsonValue] | None = given.get("answer")
    if answer is None:
        return None
    headers: Any = answer["headers"]
    return HttpResponse(status=int(str(answer["status"])), headers={**headers, **SECURITY_HEADERS}, body=answer["body"])
