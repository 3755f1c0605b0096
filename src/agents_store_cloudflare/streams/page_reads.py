"""The `read` call of a stream's object: it returns one page of chunks, or waits for the first new chunks."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from agents_store_cloudflare.contract.errors import StreamTruncatedError
from agents_store_cloudflare.contract.json_values import JsonObject
from agents_store_cloudflare.objects.rpc_text import encode_error, encode_reply
from agents_store_cloudflare.streams.changes import Changes
from agents_store_cloudflare.streams.head import StreamHead
from agents_store_cloudflare.streams.log import StreamLog
from agents_store_cloudflare.streams.native_view import native_lines
from agents_store_cloudflare.streams.operations import Arguments
from agents_store_cloudflare.streams.turn_closings import closed_at

__all__ = ["PageReads"]

MAX_WAIT_MS: Final = 60_000
MAX_PAGE_BYTES: Final = 2 * 1024 * 1024


class PageReads:
    """Answers `read` calls.

    ```text
    fromSequence  the last sequence that the reader has; null to begin at the oldest chunk kept
    incarnation   the life of the stream that the reader knows; absent if its position comes from elsewhere
    isTold        the reader knows that its position is of an earlier life, and goes on from there
    waitFor       "stream": wait until the stream exists; "chunks": wait for a chunk, the outcome, or a reset
    waitMs        how long, at most 60 s
    maxBytes      about how long the page may be, at most 2 MB
    ```

    Args:
        living: returns the stream. It deletes the stream first if its retention has run out.
    """

    def __init__(
        self, changes: Changes, living: Callable[[StreamLog], StreamHead | None], logger: logging.Logger
    ) -> None:
        self._changes = changes
        self._living = living
        self._logger = logger

    def read(self, log: StreamLog, arguments: Arguments) -> str | Awaitable[str]:
        """Reply at once if there is news, otherwise after the wait."""

        def is_there() -> bool:
            if arguments["waitFor"] == "stream":
                return self._living(log) is not None
            return self._has_news(log, arguments)

        if arguments["waitMs"] > 0 and not is_there():
            return self._read_later(log, arguments, is_there)
        return self._page(log, arguments)

    async def _read_later(self, log: StreamLog, arguments: Arguments, is_there: Callable[[], bool]) -> str:
        try:
            await self._changes.until(is_there, min(arguments["waitMs"], MAX_WAIT_MS))
            return self._page(log, arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, a traceback must not leave the object
            return encode_error(error, self._logger)

    def _page(self, log: StreamLog, arguments: Arguments) -> str:
        self._living(log)
        head = log.existing_head()
        position = _position(arguments, head)
        if _is_of_another_life(arguments, head):
            # The chunks that the reader has no longer belong to this stream, even if no chunk after the position is missing.
            raise StreamTruncatedError(
                log.stream_id, from_sequence=position, first_sequence=head.first_sequence, was_reset=True
            )
        page = log.read(position, max_bytes=min(arguments["maxBytes"], MAX_PAGE_BYTES))
        place: JsonObject = {"firstSequence": page.first_sequence, "count": page.count}
        state: JsonObject = {"status": head.status, "error": head.error, "incarnation": head.incarnation}
        until: list[str | None] | None = arguments.get("untilTurn")
        if until is not None:
            turn_id, attempt = until
            state["closedAt"] = closed_at(head, str(turn_id), attempt)
        body = native_lines(head.facts, page.body)
        return encode_reply({**place, **state, "lastSequence": head.last_sequence}, body)

    def _has_news(self, log: StreamLog, arguments: Arguments) -> bool:
        self._living(log)
        head = log.existing_head()
        if head.status != "active" or _is_of_another_life(arguments, head):
            return True
        # A position above the last one is news too: the read refuses it.
        return head.last_sequence != _position(arguments, head)


def _position(arguments: Arguments, head: StreamHead) -> int:
    from_sequence: int | None = arguments["fromSequence"]
    return head.first_sequence - 1 if from_sequence is None else from_sequence


def _is_of_another_life(arguments: Arguments, head: StreamHead) -> bool:
    incarnation: str | None = arguments.get("incarnation")
    if incarnation is not None:
        return incarnation != head.incarnation
    from_sequence: int | None = arguments["fromSequence"]
    return from_sequence is not None and not arguments.get("isTold") and head.is_of_earlier_life(from_sequence)
