"""The calls to a stream's object. Each is safe to repeat, and is repeated when no reply comes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from agents_store_cloudflare.errors import StreamConnectionError
from agents_store_cloudflare.json_values import JsonValue
from agents_store_cloudflare.objects import ObjectCallError, ObjectNamespace, call_with_retry
from agents_store_cloudflare.wire import WireMessage, decode_reply, encode_request

__all__ = ["StreamCalls"]


class StreamCalls:
    """Calls to the objects of one namespace, one per stream id."""

    def __init__(self, namespace: ObjectNamespace, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._namespace = namespace
        self._sleep = sleep

    async def call(
        self, stream_id: str, op: str, arguments: Mapping[str, JsonValue], payload: str = "", *, attempts: int = 4
    ) -> WireMessage:
        """The object's reply; after a lost one the call is sent again, with growing, jittered pauses (50 ms to 2 s).

        Raises:
            AgentsStoreError: what the object raised, as its own class.
            StreamConnectionError: no attempt brought a reply, or the object is overloaded; the call may have worked.
        """
        request = encode_request(op, {"streamId": stream_id, **arguments}, payload)
        try:
            reply = await call_with_retry(self._namespace, stream_id, request, attempts=attempts, sleep=self._sleep)
        except ObjectCallError as error:
            raise StreamConnectionError(
                f"stream {stream_id!r} gave no reply to {op!r} ({error})", outcome_unknown=True
            ) from error
        return decode_reply(reply)
