"""Streams over HTTP below one path of a user's Worker."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Final, Literal
from urllib.parse import parse_qs, urlsplit

from agents_store_cloudflare.cloudflare.http import http_request, js_response, with_headers
from agents_store_cloudflare.cloudflare.namespace import as_namespace
from agents_store_cloudflare.contract.arguments import MAX_SAFE_INTEGER, check_id, span_ms
from agents_store_cloudflare.contract.errors import AgentsStoreError, InvalidArgumentError
from agents_store_cloudflare.gateway.admission import Admission, Authorize, StreamAction
from agents_store_cloudflare.gateway.cors import CorsPolicy
from agents_store_cloudflare.gateway.faces import Admits, GatewayFace
from agents_store_cloudflare.gateway.pages import StreamPages
from agents_store_cloudflare.gateway.routes import Route, StreamWire, check_prefix, is_below, path_of, route_of
from agents_store_cloudflare.gateway.signing import MAX_LIFE_S, StreamUrlSigner
from agents_store_cloudflare.objects.http_messages import HttpRequest, HttpResponse
from agents_store_cloudflare.streams.event_requests import LEFT, position_of
from agents_store_cloudflare.streams.sse import HEADERS
from agents_store_cloudflare.streams.stream_client import StreamClient

__all__ = ["StreamGateway"]

METHODS: Final = "GET, HEAD, OPTIONS"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_WAIT_S: Final = 60
LEAST_OPEN_MS: Final = 1_000
_WAIT = re.compile(r"[0-9]{1,2}(\.[0-9]{1,3})?", re.ASCII)


class StreamGateway:
    """Answers the requests below its prefix that `authorize` allows.

    ```text
    GET {prefix}/{stream id}/events    Server-Sent Events, resumed by Last-Event-ID or ?from=
    GET {prefix}/{stream id}/socket    the same frames over a WebSocket, resumed by ?from=
    GET {prefix}/{stream id}/chunks    one JSON page after ?from=, waiting ?wait= seconds (at most 60) for it
    GET {prefix}/{stream id}           the stream's `StreamInfo` as JSON
    ```

    HEAD answers as GET does, without a body. Errors are JSON, `{"error": {"code", "message"}}`. Make one gateway per request.

    Example:
        >>> gateway = StreamGateway(self.env.STREAMS, authorize=may_read)
        >>> if (answer := await gateway.handle(request)) is not None:
        ...     return answer

    Args:
        streams: the binding, raw or as the SDK wraps it, or `LocalObjects(StreamObject)` in tests.
        prefix: the path below which it answers.
        authorize: `authorize(request, stream_id, action)`, sync or async. It gets the same request object as `handle`. Only `True`
            admits. An exception is logged and denies.
        signer: its signed URLs (`?access=`) are admitted without a call of `authorize`.
        cors: the other origins whose pages may read. By default there are none.
        faces: other protocols over the same streams. Each has its own path.
        recheck_after: the seconds (at most a day) after which a connection ends, so that its client comes back and `authorize`
            decides anew. None leaves connections open, also after `authorize` has begun to deny. Connections of faces do not end by it.
        logger: gets failures; `agents_store_cloudflare.gateway` by default.
        sleep: waits between attempts.
    """

    def __init__(
        self,
        streams: object,
        *,
        prefix: str = "/streams",
        authorize: Authorize,
        signer: StreamUrlSigner | None = None,
        cors: CorsPolicy | None = None,
        faces: Sequence[GatewayFace] = (),
        recheck_after: float | timedelta | None = None,
        logger: logging.Logger | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._prefix = check_prefix(prefix)
        self._logger = logger or logging.getLogger("agents_store_cloudflare.gateway")
        self._admission = Admission(authorize, self._logger)
        self._signer = signer
        self._cors = cors
        self._faces = tuple(faces)
        self._recheck_ms = span_ms(recheck_after, None, "recheck_after", most_seconds=MAX_LIFE_S)
        if self._recheck_ms is not None and self._recheck_ms < LEAST_OPEN_MS:
            raise InvalidArgumentError("recheck_after must be at least a second")
        self._streams = StreamClient(as_namespace(streams), sleep)
        self._pages = StreamPages(self._streams)

    async def handle(self, request: object) -> Any:
        """Answer a request below the prefix. Return None for any other request.

        Args:
            request: the argument of the Worker's `fetch`, raw or as the SDK wraps it, or an `HttpRequest`.

        Returns:
            A raw JavaScript `Response`, or an `HttpResponse` if the request is an `HttpRequest`.

        Raises:
            TypeError: the argument is no request. Every other failure becomes an error answer.

        Cost: 0-2 object calls (0-22 rows read).
        """
        value = http_request(request)
        answer = await self._answer(value, request)
        if answer is None or request is value or not isinstance(answer, HttpResponse):
            return answer
        return js_response(answer)

    def signed_path(
        self,
        stream_id: str,
        *,
        wire: StreamWire = "events",
        expires_in: float | timedelta = 300.0,
        from_sequence: int | None = None,
    ) -> str:
        """Return a path with a query that permits its holder to read the stream until it expires.

        It is for EventSource and WebSocket.

        Args:
            stream_id: any id of a stream.
            wire: how it is read: "events" (Server-Sent Events), "socket" (WebSocket) and the others of `StreamWire`.
            expires_in: the seconds until it expires, 1 to 86,400. A connection that is open then gets no more chunks and is closed.
            from_sequence: reading begins after this sequence, and earlier chunks are not permitted.

        Raises:
            InvalidArgumentError: an argument breaks a rule, or there is no signer.
        """
        if self._signer is None:
            raise InvalidArgumentError("signed_path needs the gateway's signer=StreamUrlSigner(...)")
        path = path_of(self._prefix, Route(check_id(stream_id, "stream_id"), wire))
        access = self._signer.sign(stream_id, "read", expires_in=expires_in, from_sequence=from_sequence)
        position = "" if from_sequence is None else f"from={from_sequence}&"
        return f"{path}?{position}access={access}"

    async def _answer(self, value: HttpRequest, request: object) -> object | None:
        """Return the answer with all its headers: an `HttpResponse`, or the platform's own response."""
        face = next((face for face in self._faces if is_below(value.url, face.prefix)), None)
        if face is None and not is_below(value.url, self._prefix):
            return None
        try:
            answer = await self._dispatched(value, request, face)
        except AgentsStoreError as error:
            answer = HttpResponse.of_error(error)
        except Exception as error:  # noqa: BLE001 - every failure becomes an answer
            answer = HttpResponse.of_failure(error, self._logger)
        if value.method == "HEAD" and isinstance(answer, HttpResponse):
            answer = answer.without_body()
        return with_headers(answer, self._cors.headers(value)) if self._cors else answer

    async def _dispatched(self, value: HttpRequest, request: object, face: GatewayFace | None) -> object:
        if value.method == "OPTIONS":
            methods = METHODS if face is None else face.methods
            preflight = self._cors.preflight_headers(value, methods) if self._cors else {}
            return HttpResponse(status=204, headers={"allow": methods, **preflight})

        if (value.header("Upgrade") or "").lower() == "websocket" and not self._is_welcome(value):
            return HttpResponse.refusal(403, "forbidden", "not from this origin")
        if value.method not in SAFE_METHODS and self._is_forged(value):
            return HttpResponse.refusal(403, "forbidden", "pages of this origin may not change streams")

        async def admits(
            stream_id: str,
            action: StreamAction,
            *,
            source_id: str | None = None,
            position: int | Literal["end"] = 0,
        ) -> bool:
            return await self._admits(value, request, stream_id, action, source_id=source_id, position=position)

        return await (self._native(value, admits) if face is None else face.answer(value, request, admits))

    async def _native(self, value: HttpRequest, admits: Admits) -> object:
        route = route_of(value.url, self._prefix)
        if route is None:
            return HttpResponse.refusal(404, "not_found", "there is nothing at this path; see the gateway's routes")
        refusal = self._refusal_of_method(value, route)
        if refusal is not None:
            return refusal
        position, wait_ms = position_of(value), _wait_ms(value)
        # The info shows the end of the stream and its outcome, whatever position the request names.
        shown_after: int | Literal["end"] = "end" if route.wire == "info" else position
        if not await admits(route.stream_id, "read", position=shown_after):
            return HttpResponse.refusal(403, "forbidden", "this request may not read this stream")
        left_ms = self._left_ms(value)
        return await self._opened(value, route, position, min(wait_ms, left_ms or wait_ms), left_ms)

    def _left_ms(self, value: HttpRequest) -> int | None:
        """Return how long an admitted request may stay open, in milliseconds; None for ever."""
        access = _query(value, "access")
        signed = None if self._signer is None or access is None else max(1, self._signer.left_ms(access))
        return min((span for span in (signed, self._recheck_ms) if span is not None), default=None)

    def _refusal_of_method(self, value: HttpRequest, route: Route) -> HttpResponse | None:
        if value.method not in ("GET", "HEAD"):
            return HttpResponse.refusal(
                405, "method_not_allowed", "streams are read with GET", headers={"allow": METHODS}
            )
        if route.wire != "socket":
            return None
        if value.method == "HEAD" or (value.header("Upgrade") or "").lower() != "websocket":
            return HttpResponse.refusal(
                426, "upgrade_required", "connect a WebSocket here", headers={"upgrade": "websocket"}
            )
        return None

    def _is_welcome(self, value: HttpRequest) -> bool:
        """Return whether a page of the request's origin may open a WebSocket. Browsers do not check this."""
        origin = value.header("Origin")
        return origin is None or self._is_trusted(value, origin)

    def _is_forged(self, value: HttpRequest) -> bool:
        """Return whether a page of a foreign origin sends this change.

        Browsers send such a request with the user's cookies and without a preflight.
        """
        origin = value.header("Origin")
        if origin is None:
            return value.header("Sec-Fetch-Site") in ("cross-site", "same-site")
        return not self._is_trusted(value, origin)

    def _is_trusted(self, value: HttpRequest, origin: str) -> bool:
        """Return whether pages of this origin may send the request, which browsers send with the user's cookies."""
        if self._is_own(value, origin) or (self._cors is not None and self._cors.names(origin)):
            return True
        # '*' lets in pages of any origin, but never with a user's credentials.
        is_open = self._cors is not None and self._cors.admits(origin)
        return is_open and value.header("Cookie") is None

    @staticmethod
    def _is_own(value: HttpRequest, origin: str) -> bool:
        url = urlsplit(value.url)
        return origin == f"{url.scheme}://{url.netloc}"

    async def _admits(
        self,
        value: HttpRequest,
        request: object,
        stream_id: str,
        action: StreamAction,
        *,
        source_id: str | None,
        position: int | Literal["end"],
    ) -> bool:
        access = _query(value, "access")
        if self._signer is None or access is None:
            return await self._admission.admits(request, stream_id, action, source_id=source_id)
        if not await self._is_signed(self._signer, access, stream_id, action, position):
            return False
        # A signature covers one stream, so `authorize` decides about the source.
        return source_id is None or await self._admission.admits(request, source_id, "read")

    async def _is_signed(
        self,
        signer: StreamUrlSigner,
        access: str,
        stream_id: str,
        action: StreamAction,
        position: int | Literal["end"],
    ) -> bool:
        if position != "end":
            return signer.permits(access, stream_id, action, from_sequence=position)
        if signer.permits(access, stream_id, action):
            return True
        # The end may lie before the position at which the signature begins.
        is_good = signer.permits(access, stream_id, action, from_sequence=MAX_SAFE_INTEGER)
        return is_good and signer.permits(
            access, stream_id, action, from_sequence=await self._pages.last_sequence(stream_id)
        )

    async def _opened(
        self, value: HttpRequest, route: Route, position: int, wait_ms: int, left_ms: int | None
    ) -> object:
        headers = {"Last-Event-ID": str(position), **({} if left_ms is None else {LEFT: str(left_ms)})}
        match route.wire:
            case "events" if value.method == "HEAD":
                await self._pages.check_position(route.stream_id, position)
                return HttpResponse(status=200, headers=dict(HEADERS))
            case "events":
                return await self._streams.fetch(route.stream_id, headers)
            case "socket":
                return await self._streams.fetch(route.stream_id, {**headers, "Upgrade": "websocket"})
            case "chunks":
                return await self._pages.chunks(route.stream_id, position, wait_ms if value.method == "GET" else 0)
            case "info":
                return await self._pages.info(route.stream_id)


def _wait_ms(value: HttpRequest) -> int:
    given = _query(value, "wait")
    if given is None:
        return 0
    if _WAIT.fullmatch(given) is None or float(given) > MAX_WAIT_S:
        raise InvalidArgumentError(f"wait must be 0 to {MAX_WAIT_S} seconds")
    return round(float(given) * 1000)


def _query(value: HttpRequest, name: str) -> str | None:
    values = parse_qs(urlsplit(value.url).query, keep_blank_values=True).get(name)
    return values[0] if values else None
