"""The JSON answers of a gateway: a page of chunks, and the `StreamInfo` of a stream."""

from __future__ import annotations

import json
from typing import Any, Final

from agents_store_cloudflare.contract.errors import SequenceConflictError, StreamNotFoundError, StreamTruncatedError
from agents_store_cloudflare.contract.json_values import JsonObject
from agents_store_cloudflare.objects.http_messages import HttpResponse
from agents_store_cloudflare.streams.stream_client import StreamClient

__all__ = ["StreamPages"]

PAGE_BYTES: Final = 1024 * 1024


class StreamPages:
    """The streams of one namespace as JSON. Chunks and outputs stay as their writers encoded them.

    Every call raises `StreamNotFoundError`, `SequenceConflictError`, `StreamTruncatedError` or `StreamConnectionError`.
    """

    def __init__(self, calls: StreamClient) -> None:
        self._calls = calls

    async def chunks(self, stream_id: str, position: int, wait_ms: int) -> HttpResponse:
        """Answer with the chunks after a position, up to about 1 MB. If there are none, wait for the first.

        The answer is `{"status", "sequence", "lastSequence", "chunks"}`. The next page begins after `sequence`. After the stream's
        end, the page with the last chunk also has the outcome, with the same keys as in `info`.
        """
        arguments: JsonObject = {
            "fromSequence": position or None,  # 0 begins at the oldest chunk that is kept
            "maxBytes": PAGE_BYTES,
            "waitMs": wait_ms,
            "waitFor": "chunks",
        }
        reply = await self._calls.call(stream_id, "read", arguments)
        page: dict[str, Any] = reply.head["ok"]
        last_sequence = sequence = page["firstSequence"] + page["count"] - 1
        if not page["count"] and not position and page["incarnation"]:
            sequence = 0  # the reader has no chunk: any other number would belong to an earlier life of the stream
        facts = {"status": page["status"], "sequence": sequence, "lastSequence": page["lastSequence"]}
        chunks = f'"chunks":[{reply.payload.replace(chr(10), ",")}]'
        if page["status"] == "active" or last_sequence < page["lastSequence"]:
            return HttpResponse.of_json(_joined(facts, chunks))
        try:
            info, output = await self._info(stream_id, incarnation=page["incarnation"])
        except StreamTruncatedError:
            info, output = {}, ""
        if (info.get("status"), info.get("lastSequence")) != (page["status"], page["lastSequence"]):
            # Somebody has changed the stream since it gave the page, so this outcome does not belong to the page.
            return await self.chunks(stream_id, position, 0)
        outcome = {"endStatus": info.get("endStatus"), "error": info.get("error")}
        return HttpResponse.of_json(_joined({**facts, **outcome}, f'"output":{output}', chunks))

    async def info(self, stream_id: str) -> HttpResponse:
        """Answer with the stream's `StreamInfo`."""
        info, output = await self._info(stream_id)
        return HttpResponse.of_json(_joined(info, f'"output":{output}'))

    async def last_sequence(self, stream_id: str) -> int:
        """Return the last sequence of the stream."""
        info, _ = await self._info(stream_id)
        return int(info["lastSequence"])

    async def check_position(self, stream_id: str, position: int) -> None:
        """Raise the error that a reader from this position would get. It opens no reader."""
        info, _ = await self._info(stream_id)
        if position > info["lastSequence"]:
            raise SequenceConflictError(stream_id, expected=position, actual=info["lastSequence"])

    async def _info(self, stream_id: str, *, incarnation: str | None = None) -> tuple[dict[str, Any], str]:
        """Return the facts of a `StreamInfo` without the output, and the output as JSON text.

        With an `incarnation` it raises `StreamTruncatedError` if this life of the stream is over.
        """
        arguments: JsonObject = {} if incarnation is None else {"incarnation": incarnation}
        reply = await self._calls.call(stream_id, "info", arguments)
        info: dict[str, Any] | None = reply.head["ok"]
        if info is None:
            raise StreamNotFoundError(stream_id)
        return {name: value for name, value in info.items() if name != "output"}, reply.payload or "null"


def _joined(facts: dict[str, Any], *members: str) -> str:
    """Return the text of a JSON object with these facts, and with members that are JSON text already."""
    text = json.dumps(facts, ensure_ascii=False, separators=(",", ":"))
    return f"{text[:-1]},{','.join(members)}}}"
