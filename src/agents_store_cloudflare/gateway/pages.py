"""Answers of whole JSON: the chunks after a position, and a stream as it stands."""

from __future__ import annotations

import json
from typing import Any, Final

from agents_store_cloudflare.contract.errors import SequenceConflictError, StreamNotFoundError
from agents_store_cloudflare.contract.json_values import JsonObject
from agents_store_cloudflare.objects.http_messages import HttpResponse
from agents_store_cloudflare.streams.stream_client import StreamClient

__all__ = ["StreamPages"]

PAGE_BYTES: Final = 1024 * 1024


class StreamPages:
    """The streams of one namespace as JSON. Chunks and outputs pass as their writers encoded them.

    Every call raises `StreamNotFoundError`, `SequenceConflictError`, `StreamTruncatedError` or `StreamConnectionError`.
    """

    def __init__(self, calls: StreamClient) -> None:
        self._calls = calls

    async def chunks(self, stream_id: str, position: int, wait_ms: int) -> HttpResponse:
        """The chunks after a position, up to about 1 MB. If there are none yet, it waits for the first ones.

        `{"status", "sequence", "lastSequence", "chunks"}`: ask again from `sequence`. Once the stream takes no
        more chunks, the page with its last chunk has the outcome too, as `info` has it.
        """
        arguments: JsonObject = {
            "fromSequence": position or None,  # from the start is from the oldest chunk kept
            "maxBytes": PAGE_BYTES,
            "waitMs": wait_ms,
            "waitFor": "chunks",
        }
        reply = await self._calls.call(stream_id, "read", arguments)
        page: dict[str, Any] = reply.head["ok"]
        last_sequence = sequence = page["firstSequence"] + page["count"] - 1
        if not page["count"] and not position and page["incarnation"]:
            sequence = (
                0  # nothing was read: in a later life of the stream any other number says that an earlier one was
            )
        facts = {"status": page["status"], "sequence": sequence, "lastSequence": page["lastSequence"]}
        chunks = f'"chunks":[{reply.payload.replace(chr(10), ",")}]'
        if page["status"] == "active" or last_sequence < page["lastSequence"]:
            return HttpResponse.of_json(_joined(facts, chunks))
        info, output = await self._info(stream_id)
        outcome = {"endStatus": info.get("endStatus"), "error": info.get("error")}
        return HttpResponse.of_json(_joined({**facts, **outcome}, f'"output":{output}', chunks))

    async def info(self, stream_id: str) -> HttpResponse:
        """The stream as it stands: a `StreamInfo`."""
        info, output = await self._info(stream_id)
        return HttpResponse.of_json(_joined(info, f'"output":{output}'))

    async def last_sequence(self, stream_id: str) -> int:
        """The last sequence of the stream."""
        info, _ = await self._info(stream_id)
        return int(info["lastSequence"])

    async def check_position(self, stream_id: str, position: int) -> None:
        """Raise what a reader from this position would be told; opens nothing."""
        info, _ = await self._info(stream_id)
        if position > info["lastSequence"]:
            raise SequenceConflictError(stream_id, expected=position, actual=info["lastSequence"])

    async def _info(self, stream_id: str) -> tuple[dict[str, Any], str]:
        """The facts of a `StreamInfo` without its output, and that as JSON text."""
        reply = await self._calls.call(stream_id, "info", {})
        info: dict[str, Any] | None = reply.head["ok"]
        if info is None:
            raise StreamNotFoundError(stream_id)
        return {name: value for name, value in info.items() if name != "output"}, reply.payload or "null"


def _joined(facts: dict[str, Any], *members: str) -> str:
    """A JSON object of facts, and of members that are JSON text already."""
    text = json.dumps(facts, ensure_ascii=False, separators=(",", ":"))
    return f"{text[:-1]},{','.join(members)}}}"
