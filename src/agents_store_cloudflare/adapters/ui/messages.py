"""Answers a chat page with one message of a stream. The stream's own object serves it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import Any, Final, Literal, TypeAlias, cast

from agents_store_cloudflare.cloudflare.http import js_response, status_of
from agents_store_cloudflare.cloudflare.namespace import as_namespace
from agents_store_cloudflare.contract.arguments import check_id, check_whole_number
from agents_store_cloudflare.contract.json_values import JsonObject
from agents_store_cloudflare.objects.http_messages import HttpResponse
from agents_store_cloudflare.streams.page_wires import RESUME, WIRE
from agents_store_cloudflare.streams.stream_client import StreamClient

__all__ = ["MessageStreams", "Protocol", "ui_chunks"]

Protocol: TypeAlias = Literal["vercel", "ag-ui"]

NOT_FOUND: Final = 404

PAUSES_S: Final = (0.05, 0.1, 0.2, 0.4, *[0.5] * 18)
"""The pauses of the wait for a stream: about ten seconds together, because a model may think before its first word."""


class MessageStreams:
    """Answers chat pages with one message of a stream, live and resumed. Make one per request.

    A message is the chunks between two ends of turns, which `store.turn` writes. In a stream without turns it is the whole stream.
    The stream's object serves the message, so it goes on while the page reloads, and the Worker's request may end. The Worker must
    check first whether the user may read.

    Args:
        streams: `store.stream_namespace`, or the binding of the streams, raw or as the SDK wraps it.
        protocol: "vercel" for the AI SDK's `useChat`, "ag-ui" for AG-UI clients.
        sleep: waits between attempts.

    Example:
        >>> pages = MessageStreams(store.stream_namespace)
        >>> return await pages.follow(turn.stream_id, turn.from_sequence)   # POST /api/chat
        >>> return await pages.resume(chat_id)                              # GET /api/chat/{id}/stream
    """

    def __init__(
        self,
        streams: object,
        *,
        protocol: Protocol = "vercel",
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if protocol not in ("vercel", "ag-ui"):
            raise ValueError(f"protocol must be 'vercel' or 'ag-ui', not {protocol!r}")
        self._streams = StreamClient(as_namespace(streams), sleep)
        self._protocol = protocol
        self._sleep = sleep

    async def follow(self, stream_id: str, from_sequence: int = 0) -> Any:
        """Answer with the message after `from_sequence`, live up to its end.

        You may call it before the first chunk. It waits some seconds until the stream exists.

        Returns:
            A raw JavaScript `Response`, or an `HttpResponse` over `LocalObjects`. Its status is 404 if the stream does not come to
            exist.

        Raises:
            InvalidArgumentError: an argument breaks a rule.
            StreamConnectionError: the stream's object gave no answer.

        Cost: 1 object call.
        """
        position = check_whole_number(from_sequence, "from_sequence", low=0)
        headers = {"Last-Event-ID": str(position)}
        answer = await self._fetch(stream_id, headers)
        for pause_s in PAUSES_S:
            if status_of(answer) != NOT_FOUND:
                break
            await self._sleep(pause_s)
            answer = await self._fetch(stream_id, headers)
        return answer

    async def resume(self, stream_id: str) -> Any:
        """Answer with the message that is being written, from its beginning. If there is none, answer with status 204 and no body.

        Returns:
            A raw JavaScript `Response`, or an `HttpResponse` over `LocalObjects`.

        Raises:
            InvalidArgumentError: the stream id is not valid.
            StreamConnectionError: the stream's object gave no answer.

        Cost: 1 object call.
        """
        answer = await self._fetch(stream_id, {RESUME: "1"})
        if status_of(answer) != NOT_FOUND:
            return answer
        nothing = HttpResponse(status=204)
        return nothing if isinstance(answer, HttpResponse) else js_response(nothing)

    async def _fetch(self, stream_id: str, headers: dict[str, str]) -> Any:
        return await self._streams.fetch(check_id(stream_id, "stream_id"), {WIRE: self._protocol, **headers})


async def ui_chunks(events: AsyncIterable[Any]) -> AsyncIterator[JsonObject]:
    """Yield the events of pydantic-ai's `VercelAIAdapter` or `AGUIAdapter` as chunks of a stream.

    The last `[DONE]` is left out, because it is no chunk.

    Example:
        >>> async for chunk in ui_chunks(adapter.run_stream()):
        ...     await turn.write(chunk)
    """
    async for event in events:
        if getattr(event, "type", None) != "done":
            yield cast("JsonObject", event.model_dump(mode="json", by_alias=True, exclude_none=True))
