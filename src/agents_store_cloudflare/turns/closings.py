"""Closing chunks: the state row keeps those that are owed to a stream, and this module delivers them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from agents_store_cloudflare.contract.json_values import JsonObject, encode_json
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager

__all__ = ["INTERRUPTED", "closing_chunk", "publish"]

INTERRUPTED: Final = "interrupted"
_FAILED: Final = frozenset({"failed", INTERRUPTED})


def closing_chunk(owed: JsonObject, now_ms: int) -> JsonObject:
    """Return the chunk that tells readers how a turn ended: `turn-end`, or `turn-failed` with a code."""
    chunk: JsonObject = {
        "type": "turn-failed" if owed["status"] in _FAILED else "turn-end",
        "turnId": owed["turnId"],
        "turn": owed["turn"],
        "status": owed["status"],
        "agentId": owed["agentId"],
        "agentType": owed["agentType"],
        "timestamp": now_ms,
    }
    if owed["status"] in _FAILED:
        chunk["code"] = owed.get("code", INTERRUPTED)
    return chunk


async def publish(streams: DurableObjectStreamManager, owed: Sequence[JsonObject], now_ms: int) -> dict[str, int]:
    """Write closing chunks to their streams, in order. Chunks that are already there are not written again.

    They carry no fencing token. What is owed is stored in the state row, so a closing chunk is right whoever holds the lock by now.

    Returns:
        For each stream that has a closing chunk now, the sequence of the last one.

    Raises:
        StreamError: a stream could not be reached; this chunk and those behind it stay owed.
    """
    sequences: dict[str, int] = {}
    for each in owed:
        facts: dict[str, Any] = each
        sequence = await streams.close_turn(
            facts["streamId"],
            encode_json(closing_chunk(each, now_ms), name="the closing chunk"),
            turn_id=facts["turnId"],
            writer=facts["writer"],
            incarnation=facts.get("incarnation"),
            pauses=facts.get("pauses", False),
        )
        if sequence is not None:
            sequences[facts["streamId"]] = sequence
    return sequences
