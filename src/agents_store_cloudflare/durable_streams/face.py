"""The Durable Streams protocol below a path of a user's Worker: which object a request is for, and what concerns two of them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from agents_store_cloudflare.cloudflare.http import drain, header_of, read_body, status_of
from agents_store_cloudflare.cloudflare.namespace import as_namespace
from agents_store_cloudflare.contract.arguments import check_id, span_ms
from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_values import JsonObject, JsonValue
from agents_store_cloudflare.durable_streams.fork_request import ForkRequest, parse_fork
from agents_store_cloudflare.durable_streams.messages import MAX_FORK_BODY_BYTES
from agents_store_cloudflare.durable_streams.offsets import parse_offset
from agents_store_cloudflare.durable_streams.operations import PREFIX
from agents_store_cloudflare.durable_streams.subscriptions.index_object import INDEX_NAME
from agents_store_cloudflare.durable_streams.subscriptions.routes import (
    MAX_SUBSCRIPTION_BYTES,
    SubscriptionOptions,
    SubscriptionRoutes,
)
from agents_store_cloudflare.durable_streams.wires import LONG_POLL_HEADER, SECURITY_HEADERS
from agents_store_cloudflare.gateway.admission import StreamAction
from agents_store_cloudflare.gateway.faces import Admits
from agents_store_cloudflare.gateway.routes import check_prefix
from agents_store_cloudflare.objects.http_messages import HttpRequest, HttpResponse
from agents_store_cloudflare.objects.rpc_text import WireMessage
from agents_store_cloudflare.streams.stream_client import StreamClient

__all__ = ["DURABLE_STREAMS_REQUEST_HEADERS", "DURABLE_STREAMS_RESPONSE_HEADERS", "DurableStreams"]

DURABLE_STREAMS_REQUEST_HEADERS: Final = (
    "authorization",
    "content-type",
    "if-none-match",
    "last-event-id",
    "producer-epoch",
    "producer-id",
    "producer-seq",
    "stream-closed",
    "stream-expires-at",
    "stream-fork-offset",
    "stream-fork-sub-offset",
    "stream-forked-from",
    "stream-seq",
    "stream-ttl",
)
"""What pages of other origins send: `CorsPolicy(allowed_headers=…)`."""

DURABLE_STREAMS_RESPONSE_HEADERS: Final = (
    "etag",
    "location",
    "producer-epoch",
    "producer-expected-seq",
    "producer-received-seq",
    "producer-seq",
    "retry-after",
    "stream-closed",
    "stream-cursor",
    "stream-expires-at",
    "stream-next-offset",
    "stream-sse-data-encoding",
    "stream-ttl",
    "stream-up-to-date",
)
"""What pages of other origins read: `CorsPolicy(exposed_headers=…)`."""

ACTIONS: Final[dict[str, StreamAction]] = {
    "GET": "read",
    "HEAD": "read",
    "POST": "append",
    "PUT": "create",
    "DELETE": "delete",
}
MAX_LONG_POLL_S: Final = 60
MOST_FORKS_LOOKED_AFTER: Final = 20


class DurableStreams:
    """`GatewayFace` of the open protocol for resumable streams; any of its clients reads and writes the gateway's streams.

    A stream's path is its id: `{prefix}/run-1` is the stream `run-1` of `DurableObjectStreamManager`.

    Example:
        >>> gateway = StreamGateway(
        ...     self.env.STREAMS, authorize=may, faces=[DurableStreams(self.env.STREAMS, prefix="/v1/stream")]
        ... )

    Args:
        streams: the binding, raw or as the SDK wraps it, or `LocalObjects(StreamObject)` in tests.
        prefix: the path it answers below.
        long_poll_timeout: seconds that a long-poll waits for data, at most 60.
        subscriptions: turns on subscriptions, with their index in a reserved object of the namespace; off when absent.
        sleep: how pauses between attempts are waited for.
    """

    methods = "GET, HEAD, POST, PUT, DELETE, OPTIONS"

    def __init__(
        self,
        streams: object,
        *,
        prefix: str = "/v1/stream",
        long_poll_timeout: float | timedelta = 20.0,
        subscriptions: SubscriptionOptions | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.prefix: str = check_prefix(prefix)
        self._calls = StreamClient(as_namespace(streams), sleep)
        self._subscriptions: SubscriptionRoutes | None = None
        if subscriptions is not None:
            self._subscriptions = SubscriptionRoutes(self._calls, subscriptions, self.prefix)
        self._long_poll_ms = span_ms(long_poll_timeout, None, "long_poll_timeout", most_seconds=MAX_LONG_POLL_S) or 0

    async def answer(self, request: HttpRequest, original: object, admits: Admits) -> object:
        """`GatewayFace.answer`."""
        try:
            return await self._answer(request, original, admits)
        finally:
            # What is refused here leaves the body unread.
            if request.method not in ("GET", "HEAD"):
                await drain(original)

    async def _answer(self, request: HttpRequest, original: object, admits: Admits) -> object:
        path = urlsplit(request.url).path
        if path.startswith(f"{self.prefix}/{INDEX_NAME}/"):
            return await self._reserved(request, original, path[len(self.prefix) + 1 :], admits)
        stream_id = self._stream_id(path)
        action = ACTIONS.get(request.method)
        if action is None:
            headers = {"allow": self.methods, **SECURITY_HEADERS}
            return HttpResponse.refusal(405, "method_not_allowed", "streams know no such method", headers=headers)
        fork = parse_fork(request, self._stream_id) if request.method == "PUT" else None
        if fork is None:
            is_admitted = await admits(stream_id, action)
        else:
            is_admitted = await admits(stream_id, "fork", source_id=fork.source_id)
        if not is_admitted:
            message = "this request may not do that with this stream"
            return HttpResponse.refusal(403, "forbidden", message, headers=SECURITY_HEADERS)
        answer = await self._admitted(stream_id, request, original, fork)
        await self._tell_index(stream_id, request, answer)
        return answer

    async def _reserved(self, request: HttpRequest, original: object, path: str, admits: Admits) -> HttpResponse:
        """What is below `__ds`."""
        if self._subscriptions is None:
            message = "subscriptions are off; DurableStreams(subscriptions=SubscriptionOptions()) turns them on"
            return HttpResponse.refusal(404, "subscriptions_off", message, headers=SECURITY_HEADERS)
        body: bytes | None = b""
        if request.method not in ("GET", "HEAD"):
            body = request.body if original is request else await read_body(original, MAX_SUBSCRIPTION_BYTES)
        if body is None or len(body) > MAX_SUBSCRIPTION_BYTES:
            message = f"the body may have {MAX_SUBSCRIPTION_BYTES:,} bytes"
            return HttpResponse.refusal(413, "body_too_large", message, headers=SECURITY_HEADERS)
        answer = await self._subscriptions.answer(replace(request, body=body), path, admits)
        return answer.with_headers(SECURITY_HEADERS)

    async def _tell_index(self, stream_id: str, request: HttpRequest, answer: object) -> None:
        """Where subscriptions are on, what has changed wakes them before the answer goes out."""
        if self._subscriptions is None or request.method not in ("PUT", "POST", "DELETE"):
            return
        status = status_of(answer)
        if request.method == "DELETE":
            if status == 204:
                await self._subscriptions.gone(stream_id)
        elif status in (200, 201, 204):
            position = parse_offset(header_of(answer, "stream-next-offset") or "")
            tail = position if isinstance(position, int) else 0
            await self._subscriptions.appended(stream_id, tail, is_new=status == 201)

    async def _admitted(
        self, stream_id: str, request: HttpRequest, original: object, fork: ForkRequest | None
    ) -> object:
        if fork is not None:
            return await self._repaired(stream_id, lambda: self._fork(stream_id, request, original, fork))
        if request.method == "DELETE":
            return await self._repaired(stream_id, lambda: self._delete(stream_id))
        answer = await self._forward(stream_id, request, original)
        is_held = status_of(answer) in (409, 410) and request.method in ("PUT", "GET", "HEAD")
        # Its forks may have expired, which nobody has told it.
        if is_held and await self._look_after_forks(stream_id):
            # A PUT's body is gone with the first attempt.
            is_sent_again = request.method != "PUT"
            return await self._forward(stream_id, request, original) if is_sent_again else _try_again()
        return answer

    async def _repaired(self, stream_id: str, act: Callable[[], Awaitable[HttpResponse]]) -> HttpResponse:
        """Act; where the path is only held by forks that are no more, let go of them and act again."""
        answer = await act()
        if answer.status in (409, 410) and await self._look_after_forks(stream_id):
            answer = await act()
        return answer

    def _stream_id(self, path: str) -> str:
        """The id of a path below the prefix.

        Raises:
            InvalidArgumentError: it is none.
        """
        if not path.startswith(f"{self.prefix}/"):
            raise InvalidArgumentError(f"the path of a stream begins with {self.prefix}/")
        try:
            decoded = unquote(path[len(self.prefix) + 1 :], errors="strict")
        except UnicodeDecodeError:
            raise InvalidArgumentError("the path is not UTF-8") from None
        return check_id(decoded, "the stream's path")

    async def _forward(self, stream_id: str, request: HttpRequest, original: object) -> Any:
        """The object's own answer; `original` goes as it is, body and all, where nothing has to be added."""
        if request.method == "GET" and self._long_poll_ms != 20_000 and "live=long-poll" in request.url:
            headers = {**request.headers, LONG_POLL_HEADER: str(self._long_poll_ms)}
            return await self._calls.forward(stream_id, HttpRequest(url=request.url, headers=headers))
        return await self._calls.forward(stream_id, request, original)

    async def _delete(self, stream_id: str) -> HttpResponse:
        reply = await self._ask(stream_id, "delete", {"incarnation": secrets.token_hex(8)})
        if (refused := _answer_in(reply)) is not None:
            return refused
        await self._release(stream_id, reply.head["ok"]["sourceId"])
        return HttpResponse(status=204, headers={**SECURITY_HEADERS, "cache-control": "no-store"})

    async def _release(self, fork_id: str, source_id: str | None) -> None:
        """A stream is gone that was forked from another; that may go too, and so on."""
        while source_id is not None:
            reply = await self._ask(source_id, "release", {"forkId": fork_id})
            fork_id, source_id = source_id, reply.head["ok"]["sourceId"]

    async def _look_after_forks(self, stream_id: str) -> bool:
        """Let a deleted stream forget forks that are gone by themselves; whether there were some."""
        reply = await self._ask(stream_id, "forks", {})
        has_changed = False
        for fork_id in reply.head["ok"]["forks"][:MOST_FORKS_LOOKED_AFTER]:
            fork = await self._ask(fork_id, "source", {})
            if fork.head["ok"]["sourceId"] != stream_id:
                await self._release(fork_id, stream_id)
                has_changed = True
        return has_changed

    async def _fork(self, stream_id: str, request: HttpRequest, original: object, fork: ForkRequest) -> HttpResponse:
        body = request.body if original is request else await read_body(original, MAX_FORK_BODY_BYTES)
        if body is None or len(body) > MAX_FORK_BODY_BYTES:
            message = f"what a fork begins with may have {MAX_FORK_BODY_BYTES:,} bytes; append the rest"
            return HttpResponse.refusal(413, "body_too_large", message, headers=SECURITY_HEADERS)
        headers: JsonObject = {**request.headers}
        target: JsonObject = {
            "url": request.url,
            "headers": headers,
            "body": body.decode("latin-1"),
            "token": secrets.token_hex(8),
            **fork.arguments(),
        }
        source: JsonObject = {
            "forkId": stream_id,
            "offset": fork.offset,
            "subOffset": fork.sub_offset,
            "contentType": request.header("Content-Type"),
        }
        asked = await self._ask(stream_id, "fork", {**target, "step": "ask"})
        if (answer := _answer_in(asked)) is not None:
            return answer
        number, after, point = 0, None, None
        while True:
            page = await self._ask(fork.source_id, "export", {**source, "after": after, "point": point})
            if (answer := _answer_in(page)) is not None:
                return answer
            place: dict[str, Any] = page.head["ok"]
            after, point = place["after"], place["point"]
            step: JsonObject = {"step": "make" if place["isLast"] else "page", "page": number}
            facts: JsonObject = {"facts": place["facts"], "point": point}
            made = await self._ask(stream_id, "fork", {**target, **step, **facts}, page.payload)
            if (answer := _answer_in(made)) is not None:
                return answer
            number += 1

    async def _ask(self, stream_id: str, op: str, arguments: JsonObject, payload: str = "") -> WireMessage:
        return await self._calls.call(stream_id, PREFIX + op, arguments, payload)


def _try_again() -> HttpResponse:
    headers = {"retry-after": "1", **SECURITY_HEADERS}
    return HttpResponse.refusal(503, "try_again", "the path has become free; send the request again", headers=headers)


def _answer_in(reply: WireMessage) -> HttpResponse | None:
    """The HTTP answer that an object has put into its reply."""
    given: dict[str, Any] = reply.head["ok"]
    answer: dict[str, JsonValue] | None = given.get("answer")
    if answer is None:
        return None
    headers: Any = answer["headers"]
    return HttpResponse(status=int(str(answer["status"])), headers={**headers, **SECURITY_HEADERS}, body=answer["body"])
