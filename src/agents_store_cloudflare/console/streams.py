"""Reads the facts and the last chunks of a stream from its object."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from agents_store_cloudflare.console.hangs import StreamFacts
from agents_store_cloudflare.console.sources import Sources
from agents_store_cloudflare.contract.errors import SequenceConflictError, StreamError
from agents_store_cloudflare.contract.record import Record
from agents_store_cloudflare.contract.streams.records import StreamInfo

__all__ = ["ChunkPage", "chunks_after", "stream_facts"]

LOOKED_AT: Final = 8
"""The number of last chunks that are searched for the chunk that closes a turn. Only the next turn writes after it."""
PAGE_BYTES: Final = 256 * 1024
_CLOSING: Final = ("turn-end", "turn-failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkPage(Record):
    """Chunks of a stream. `first` is the sequence of the first chunk."""

    first: int
    chunks: tuple[dict[str, Any], ...]
    last_sequence: int


async def stream_facts(sources: Sources, stream_id: str) -> StreamFacts:
    """Return the facts of a stream, and the turns that its last chunks close. An unreachable stream counts as no stream."""
    if sources.objects is None:
        return StreamFacts()
    try:
        info = await sources.objects.streams.get_info(stream_id)
        if info is None or not info.count:
            return StreamFacts(info=info)
        page = await chunks_after(sources, info, info.last_sequence - LOOKED_AT)
    except StreamError:
        return StreamFacts()
    closed = [str(chunk.get("turnId")) for chunk in page.chunks if chunk["type"] in _CLOSING]
    return StreamFacts(info=info, closed_turns=tuple(closed))


async def chunks_after(sources: Sources, info: StreamInfo, position: int) -> ChunkPage:
    """Return the kept chunks after a position, up to about 256 KB.

    Raises:
        StreamError: the stream could not be reached, or this console has no streams.
    """
    if sources.objects is None:
        raise StreamError("this console has only a database and cannot read streams")
    arguments: dict[str, Any] = {
        "fromSequence": max(position, info.first_sequence - 1, 0) or None,
        "maxBytes": PAGE_BYTES,
        "waitMs": 0,
        "waitFor": "chunks",
    }
    try:
        reply = await sources.objects.stream_client.call(info.stream_id, "read", arguments)
    except SequenceConflictError:  # reset in between
        return ChunkPage(first=1, chunks=(), last_sequence=0)
    page: dict[str, Any] = reply.head["ok"]
    chunks = [json.loads(line) for line in reply.payload.split("\n")] if page["count"] else []
    return ChunkPage(first=page["firstSequence"], chunks=tuple(chunks), last_sequence=page["lastSequence"])
