"""Serves the Durable Streams protocol below a path of a user's Worker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from agents_store_cloudflare.cloudflare.http import (
    END_HEADER,
    drain,
    has_known_length,
    header_of,
    read_body,
    status_of,
    with_marked_end,
)
from agents_store_cloudflare.cloudflare.namespace import as_namespace
from agents_store_cloudflare.contract.arguments import check_id, span_ms
from agents_store_cloudflare.contract.errors import AgentsStoreError, InvalidArgumentError
from agents_store_cloudflare.durable_streams.answers import BEGUN_HEADER, DUE_HEADER, LIFE_HEADER, SECURITY_HEADERS
from agents_store_cloudflare.durable_streams.fork_copies import ForkCopies
from agents_store_cloudflare.durable_streams.fork_request import ForkRequest, parse_fork
from agents_store_cloudflare.durable_streams.offsets import Offset, parse_offset
from agents_store_cloudflare.durable_streams.requests import READ_HEADER, Read, parse_read
from agents_store_cloudflare.durable_streams.subscriptions.index_object import INDEX_NAME
from agents_store_cloudflare.durable_streams.subscriptions.links import SeenStream
from agents_store_cloudflare.durable_streams.subscriptions.routes import (
    MAX_SUBSCRIPTION_BYTES,
    SubscriptionOptions,
    SubscriptionRoutes,
)
from agents_store_cloudflare.durable_streams.telling import TOLD_HEADER
from agents_store_cloudflare.gateway.admission import StreamAction
from agents_store_cloudflare.gateway.faces import Admits
from agents_store_cloudflare.gateway.routes import check_prefix
from agents_store_cloudflare.objects.http_messages import HttpRequest, HttpResponse
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
"""The request headers of the protocol, for `CorsPolicy(allowed_headers=…)`."""

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
"""The response headers of the protocol, for `CorsPolicy(exposed_headers=…)`."""

ACTIONS: Final[dict[str, StreamAction]] = {
    "GET": "read",
    "HEAD": "read",
    "POST": "append",
    "PUT": "create",
    "DELETE": "delete",
}
MAX_LONG_POLL_S: Final = 60
MOST_FORKS_LOOKED_AFTER: Final = 20

CONDITIONS: Final = ("If-Match", "If-None-Match", "If-Unmodified-Since")
"""A change with one of these would take place although its sender has made it depend on something."""


class DurableStreams:
    """The Durable Streams protocol as a `GatewayFace`. Any client of the protocol can read and write the gateway's streams.

    A stream's path is its id: `{prefix}/run-1` is the stream `run-1` of `DurableObjectStreamManager`.

    Example:
        >>> gateway = StreamGateway(
        ...     self.env.STREAMS, authorize=may, faces=[DurableStreams(self.env.STREAMS, prefix="/v1/stream")]
        ... )

    Args:
        streams: the binding, raw or as the SDK wraps it, or `LocalObjects(StreamObject)` in tests.
        prefix: the path below which it answers requests.
        long_poll_timeout: seconds that a long-poll waits for data, at most 60.
        subscriptions: turns on subscriptions. Their index is a reserved object of the namespace. By default they are off.
        sleep: waits between attempts.
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
        self._streams = StreamClient(as_namespace(streams), sleep)
        self._copies = ForkCopies(self._streams)
        self._subscriptions: SubscriptionRoutes | None = None
        if subscriptions is not None:
            self._subscriptions = SubscriptionRoutes(self._streams, subscriptions, self.prefix)
        self._long_poll_ms = span_ms(long_poll_timeout, None, "long_poll_timeout", most_seconds=MAX_LONG_POLL_S) or 0

    async def answer(self, request: HttpRequest, original: object, admits: Admits) -> object:
        """Answer a request below the prefix of this face."""
        try:
            return await self._answer(request, original, admits)
        except AgentsStoreError as error:
            return HttpResponse.of_error(error).with_headers(SECURITY_HEADERS)
        finally:
            # A refused request leaves its body unread.
            if request.method not in ("GET", "HEAD"):
                await drain(original)

    async def _answer(self, request: HttpRequest, original: object, admits: Admits) -> object:
        path = urlsplit(request.url).path
        if request.header(END_HEADER) is not None:
            # The object would look for a mark at the end of the body, and fail.
            raise InvalidArgumentError(f"{END_HEADER} is a header of the server's own")
        if path.startswith(f"{self.prefix}/{INDEX_NAME}/"):
            return await self._reserved(request, original, path[len(self.prefix) + 1 :], admits)
        stream_id = self._stream_id(path)
        action = ACTIONS.get(request.method)
        if action is None:
            headers = {"allow": self.methods, **SECURITY_HEADERS}
            return HttpResponse.refusal(405, "method_not_allowed", "streams do not allow this method", headers=headers)
        fork = parse_fork(request, self._stream_id) if request.method == "PUT" else None
        read = parse_read(request, wait_ms=self._long_poll_ms) if request.method == "GET" else None
        if not await _is_admitted(admits, stream_id, action, fork, read):
            message = "this request may not do that with this stream"
            return HttpResponse.refusal(403, "forbidden", message, headers=SECURITY_HEADERS)
        if read is None and request.method != "HEAD" and any(map(request.header, CONDITIONS)):
            message = "changes take no conditions (If-Match and the like); nothing was changed"
            return HttpResponse.refusal(412, "no_conditions", message, headers=SECURITY_HEADERS)
        if read is not None:
            # The object uses the position that was checked here, and does not parse the URL again.
            request = replace(request, headers={READ_HEADER: read.to_header()})
            original = request
        answer = await self._admitted(stream_id, request, original, fork)
        await self._tell_index(stream_id, request, answer)
        return answer

    async def _reserved(self, request: HttpRequest, original: object, path: str, admits: Admits) -> HttpResponse:
        """Answer a request below `__ds`."""
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
        """Tell the subscription index about the change before the answer goes out."""
        if self._subscriptions is None or request.method not in ("PUT", "POST", "DELETE"):
            return
        status = status_of(answer)
        life, begun = (int(header_of(answer, name) or 0) for name in (LIFE_HEADER, BEGUN_HEADER))
        if header_of(answer, TOLD_HEADER) is not None:
            return  # the stream's object has told the index
        if request.method == "DELETE":
            if status == 204:
                await self._subscriptions.gone(stream_id, life=life, begun=begun)
        elif status in (200, 201, 204):
            position = parse_offset(header_of(answer, "stream-next-offset") or "")
            tail = position.sequence if isinstance(position, Offset) else 0
            due = header_of(answer, DUE_HEADER)
            due_ms = None if due is None else int(due)
            before = 0 if status == 201 else max(tail - 1, 0)
            stream = SeenStream(stream_id, tail, due_ms, life, begun)
            await self._subscriptions.appended(stream, before=before)

    async def _admitted(
        self, stream_id: str, request: HttpRequest, original: object, fork: ForkRequest | None
    ) -> object:
        if fork is not None:
            return await self._repaired(stream_id, lambda: self._copies.fork(stream_id, request, original, fork))
        if request.method == "DELETE":
            return await self._repaired(stream_id, lambda: self._copies.delete(stream_id))
        answer = await self._forward(stream_id, request, original)
        is_held = status_of(answer) in (409, 410) and request.method in ("PUT", "GET", "HEAD")
        # Forks of a deleted stream may have expired without a message to it.
        if is_held and await self._copies.look_after(stream_id):
            # The first attempt has used up a PUT's body.
            is_sent_again = request.method != "PUT"
            return await self._forward(stream_id, request, original) if is_sent_again else _try_again()
        return answer

    async def _repaired(self, stream_id: str, act: Callable[[], Awaitable[HttpResponse]]) -> HttpResponse:
        """Return the result of `act`. If all forks that hold the path are gone, forget them and call `act` again."""
        answer = await act()
        if answer.status in (409, 410) and await self._copies.look_after(stream_id):
            answer = await act()
        return answer

    def _stream_id(self, path: str) -> str:
        """Return the stream id of a path below the prefix.

        Raises:
            InvalidArgumentError: the path is not below the prefix, or has no valid id.
        """
        if not path.startswith(f"{self.prefix}/"):
            raise InvalidArgumentError(f"the path of a stream begins with {self.prefix}/")
        try:
            decoded = unquote(path[len(self.prefix) + 1 :], errors="strict")
        except UnicodeDecodeError:
            raise InvalidArgumentError("the path is not UTF-8") from None
        return check_id(decoded, "the stream's path")

    async def _forward(self, stream_id: str, request: HttpRequest, original: object) -> Any:
        """Return the object's own answer. `original` is passed on with its body."""
        if request.method not in ("PUT", "POST") or original is request or has_known_length(original):
            return await self._streams.forward(stream_id, request, original)
        # A body that breaks off on its way could look complete to the object.
        return await with_marked_end(original, lambda marked: self._streams.forward(stream_id, request, marked))


async def _is_admitted(
    admits: Admits, stream_id: str, action: StreamAction, fork: ForkRequest | None, read: Read | None
) -> bool:
    """Return whether the request may do this. The position of a read is the position that the object will use."""
    if fork is not None:
        return await admits(stream_id, "fork", source_id=fork.source_id)
    if action != "read":
        return await admits(stream_id, action)
    # HEAD shows the end of the stream and no message.
    return await admits(stream_id, action, position="end" if read is None else read.from_sequence)


def _try_again() -> HttpResponse:
    headers = {"retry-after": "1", **SECURITY_HEADERS}
    return HttpResponse.refusal(503, "try_again", "the path has become free; send the request again", headers=headers)
