"""Calls to the objects of streams. Each call is safe to repeat, and is sent again when no reply comes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar, cast

from agents_store_cloudflare.contract.errors import AgentsStoreError, StreamConnectionError, StreamError
from agents_store_cloudflare.contract.json_values import JsonValue
from agents_store_cloudflare.objects import KeepsLines, ObjectCallError, ObjectNamespace, with_retry
from agents_store_cloudflare.objects.http_messages import HttpRequest
from agents_store_cloudflare.objects.rpc_text import WireMessage, decode_reply, encode_request

__all__ = ["StreamClient", "reply_of", "request_text"]

T = TypeVar("T")


class _AnswersHttp(Protocol):
    async def fetch(self, name: str, url: str, headers: Mapping[str, str]) -> object: ...

    async def forward(self, name: str, request: HttpRequest, original: object) -> object: ...


def request_text(stream_id: str, op: str, arguments: Mapping[str, JsonValue], payload: str = "") -> str:
    """Return the text of a call."""
    return encode_request(op, {"streamId": stream_id, **arguments}, payload)


def reply_of(stream_id: str, reply: str) -> WireMessage:
    """Return the reply of a text.

    Raises:
        AgentsStoreError: the object has raised it.
        StreamError: something else failed in the object. The call may have worked.
    """
    try:
        return decode_reply(reply)
    except AgentsStoreError as error:
        if type(error) is not AgentsStoreError:
            raise
        raise StreamError(f"stream {stream_id!r}: {error}", outcome_unknown=True) from error


class StreamClient:
    """Calls to the objects of one namespace, one per stream id."""

    def __init__(self, namespace: ObjectNamespace, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._namespace = namespace
        self._keeps_lines = namespace if isinstance(namespace, KeepsLines) else None
        self._sleep = sleep

    async def call(
        self, stream_id: str, op: str, arguments: Mapping[str, JsonValue], payload: str = "", *, attempts: int = 4
    ) -> WireMessage:
        """Send a request, and return the object's reply.

        If no reply comes, it is sent again, after growing random pauses (50 ms to 2 s).

        Raises:
            AgentsStoreError: any error that the object has raised.
            StreamConnectionError: no reply came to any attempt, or the object is overloaded. The call may have worked.
            StreamError: something else failed in the object. The call may have worked.
        """
        request = request_text(stream_id, op, arguments, payload)
        reply = await self._repeated(stream_id, op, lambda: self._namespace.call(stream_id, request), attempts)
        return reply_of(stream_id, reply)

    def hang_up(self, stream_id: str) -> None:
        """Close the connection to the object that the namespace keeps open for faster calls, because no call follows soon."""
        if self._keeps_lines is not None:
            self._keeps_lines.hang_up(stream_id)

    async def fetch(self, stream_id: str, headers: Mapping[str, str]) -> object:
        """Return the object's HTTP answer to a GET. A request without an answer is sent again, as `call` does.

        Raises:
            StreamError: the namespace answers no HTTP.
            StreamConnectionError: no answer came to any attempt, or the object is overloaded.
        """
        if not hasattr(self._namespace, "fetch"):
            raise StreamError(
                "live events need a Durable Object binding (or LocalObjects); this namespace answers no HTTP"
            )
        namespace = cast("_AnswersHttp", self._namespace)
        return await self._repeated(
            stream_id, "fetch", lambda: namespace.fetch(stream_id, "https://stream.invalid/", headers)
        )

    async def forward(self, stream_id: str, request: HttpRequest, original: object = None) -> object:
        """Return the object's HTTP answer to a request. It is sent once, because its body can be read only once.

        Args:
            original: the platform's own request, which is passed on unchanged. Without it `request` is sent.

        Raises:
            StreamConnectionError: no answer came, or the object is overloaded.
        """
        namespace = cast("_AnswersHttp", self._namespace)
        try:
            return await namespace.forward(stream_id, request, original)
        except ObjectCallError as error:
            raise StreamConnectionError(
                f"stream {stream_id!r} gave no answer to {request.method} ({error})", outcome_unknown=True
            ) from error

    async def _repeated(self, stream_id: str, op: str, send: Callable[[], Awaitable[T]], attempts: int = 4) -> T:
        try:
            return await with_retry(send, attempts=attempts, sleep=self._sleep)
        except ObjectCallError as error:
            raise StreamConnectionError(
                f"stream {stream_id!r} gave no reply to {op!r} ({error})", outcome_unknown=True
            ) from error
