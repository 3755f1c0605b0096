"""A reader: it fetches pages of stored chunks, then waits for new chunks until the stream ends."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections import deque
from types import TracebackType
from typing import Any, Final, Self

from agents_store_cloudflare.contract.errors import StreamFailedError, StreamNotFoundError, StreamTruncatedError
from agents_store_cloudflare.contract.json_values import JsonObject
from agents_store_cloudflare.contract.streams.manager import ResumableStreamStatus, StreamReader
from agents_store_cloudflare.objects.rpc_text import WireMessage
from agents_store_cloudflare.streams.stream_client import StreamClient

__all__ = ["DurableObjectStreamReader"]

PAGE_BYTES: Final = 1024 * 1024
POLL_MS: Final = 20_000
READ_ATTEMPTS: Final = 8
TURN_CLOSINGS: Final = frozenset({"turn-end", "turn-failed"})
"""The types of chunk that close a turn. The chunk's `turnId` names the turn."""


class DurableObjectStreamReader(StreamReader):
    """Reads a stream over RPC. After an exception, a new iteration goes on from `sequence`."""

    def __init__(
        self,
        stream_id: str,
        from_sequence: int | None,
        client: StreamClient,
        *,
        follow: bool = True,
        until_turn: str | None = None,
        attempt: str | None = None,
    ) -> None:
        self._stream_id = stream_id
        self._follow = follow
        self._until_turn = until_turn
        self._attempt = attempt
        self._has_turn = False
        self._closed_at: int | None = None
        self._client = client
        self._position = from_sequence
        self._last_held = from_sequence or 0
        self._incarnation: str | None = None
        self._is_told = False
        self._turn = asyncio.Lock()
        self._may_go_on = False
        self._status: ResumableStreamStatus = "active"
        self._error: str | None = None
        self._chunks: deque[JsonObject] = deque()
        self._last_sequence = from_sequence or 0
        self._call: asyncio.Task[WireMessage] | None = None
        self._is_opened = False
        self._is_closed = False

    def __del__(self) -> None:
        if self._is_opened and not self._is_closed and not self._is_finished():
            warnings.warn(
                f"a reader of stream {self._stream_id!r} was dropped before its end, at sequence {self.sequence}. "
                "Use `async with await stream_manager.create_reader(…)`, or call close()",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else self._status
        return f"<StreamReader of {self._stream_id!r} {state}: at sequence {self.sequence} of {self._last_sequence}>"

    @property
    def sequence(self) -> int:
        return self._last_held - len(self._chunks)

    @property
    def status(self) -> ResumableStreamStatus:
        return self._status

    async def open(self, wait_ms: int) -> Self:
        """Fetch the first page, waiting for the stream to exist.

        Raises:
            StreamNotFoundError: the stream does not exist when the wait is over.
            SequenceConflictError: the position is above the last sequence.
            StreamTruncatedError: the position is before the oldest chunk that is kept, or belongs to an earlier life of the stream.
        """
        while True:
            poll_ms = min(wait_ms, POLL_MS)
            wait_ms -= poll_ms
            try:
                self._take(await self._ask("stream", poll_ms))
                self._is_opened = True
            except StreamNotFoundError:
                if wait_ms <= 0:
                    raise
            else:
                return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> JsonObject:
        try:
            return self._chunks.popleft()
        except IndexError:
            pass  # checked first, each chunk would take longer
        async with self._turn:  # tasks that share a reader take turns
            if not await self._has_more():
                raise StopAsyncIteration
            return self._chunks.popleft()

    async def _has_more(self) -> bool:
        """Wait for the next chunk. Return False at the end."""
        while not self._chunks:
            if self._has_turn or self._is_turn_over():
                return False
            if self._is_closed or (self._is_at_end() and not self._may_go_on):
                self._raise_failure()
                # When somebody asks again, a paused stream may have been resumed, and an active one may have more.
                self._may_go_on = self._status in ("paused", "active")
                return False
            self._may_go_on = False
            await self._fetch()
        return True

    async def close(self) -> None:
        self._is_closed = True
        self._last_held = self.sequence
        self._chunks.clear()
        if self._call is not None:
            self._call.cancel()
        self._client.hang_up(self._stream_id)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _is_at_end(self) -> bool:
        is_open = self._status == "active" and self._follow
        return not is_open and (self._position or 0) >= self._last_sequence

    def _is_finished(self) -> bool:
        """Return whether the consumer has got all chunks of this reader."""
        return not self._chunks and (self._has_turn or self._is_turn_over() or self._is_at_end())

    def _is_turn_over(self) -> bool:
        """Return whether the turn was closed at or before this position, so that its closing chunk does not come any more."""
        return self._closed_at is not None and (self._position or 0) >= self._closed_at

    def _raise_failure(self) -> None:
        if self._status == "failed" and not self._is_closed:
            raise StreamFailedError(self._stream_id, error=self._error)

    async def _fetch(self) -> None:
        """Fetch the next page. The page is empty when no chunk came in time or the reader was closed meanwhile."""
        cancellations = _cancellations()
        self._call = asyncio.ensure_future(self._ask("chunks", POLL_MS if self._follow else 0))
        try:
            reply = await self._call
        except StreamTruncatedError:
            # The error goes to the consumer. The next request goes on from the reader's position, if that is kept.
            self._incarnation, self._is_told = None, True
            raise
        except asyncio.CancelledError:
            # `close` cancels only the call. If somebody cancels the consumer at the same moment, this cancellation is raised.
            if not self._is_closed or _cancellations() > cancellations:
                raise
            return
        finally:
            self._call = None
        if not self._is_closed:
            self._take(reply)

    async def _ask(self, wait_for: str, wait_ms: int) -> WireMessage:
        arguments: JsonObject = {
            "fromSequence": self._position,
            "maxBytes": PAGE_BYTES,
            "waitMs": wait_ms,
            "waitFor": wait_for,
        }
        if self._until_turn is not None:
            arguments["untilTurn"] = [self._until_turn, self._attempt]
        if self._incarnation is not None:
            arguments["incarnation"] = self._incarnation
        elif self._is_told:
            arguments["isTold"] = True
        return await self._client.call(self._stream_id, "read", arguments, attempts=READ_ATTEMPTS)

    def _take(self, page: WireMessage) -> None:
        place: dict[str, Any] = page.head["ok"]
        self._status, self._error = place["status"], place["error"]
        self._last_sequence = place["lastSequence"]
        self._incarnation = place["incarnation"]
        self._closed_at = place.get("closedAt")
        if self._is_turn_over():
            return  # later chunks belong to later turns
        if self._position is None:
            self._last_held = place["firstSequence"] - 1
        # An empty page may move the position past numbers that were lost in a crash.
        self._position = place["firstSequence"] + place["count"] - 1
        if place["count"]:
            # One text is parsed faster than many. JSON text holds no raw newline.
            chunks: list[JsonObject] = json.loads("[" + page.payload.replace("\n", ",") + "]")
            if self._until_turn is not None:
                chunks = self._up_to_closing(chunks, self._until_turn)
            self._last_held = place["firstSequence"] + len(chunks) - 1
            self._chunks.extend(chunks)

    def _up_to_closing(self, chunks: list[JsonObject], turn_id: str) -> list[JsonObject]:
        """Return the chunks up to the turn's closing chunk."""
        for number, chunk in enumerate(chunks, start=1):
            if chunk.get("type") in TURN_CLOSINGS and chunk.get("turnId") == turn_id:
                self._has_turn = True
                return chunks[:number]
        return chunks


def _cancellations() -> int:
    """Return how often somebody has asked the running task to stop."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()
