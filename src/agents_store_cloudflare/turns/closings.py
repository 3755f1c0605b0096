"""Publishes closing chunks. The state row keeps the closing chunks that a stream must still get."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypedDict

from agents_store_cloudflare.contract.json_values import JsonObject, encode_json
from agents_store_cloudflare.streams.manager import DurableObjectStreamManager

__all__ = ["INTERRUPTED", "closing_chunk", "closing_facts", "closing_text", "publish"]

INTERRUPTED: Final = "interrupted"
_FAILED: Final = frozenset({"failed", INTERRUPTED})


def closing_chunk(owed: JsonObject, now_ms: int) -> JsonObject:
    """Return the closing chunk of a turn: `turn-end`, or `turn-failed` with a code."""
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

    They have no fencing token. The state row names each closing chunk, so the chunk is right even if somebody else holds the lock
    now.

    Returns:
        The sequence of the last closing chunk, for each stream that has one now.

    Raises:
        StreamError: a stream could not be reached. Its chunk and all later chunks must still be published.
    """
    sequences: dict[str, int] = {}
    for each in owed:
        sequence = await streams.close_turn(str(each["streamId"]), closing_text(each, now_ms), **closing_facts(each))
        if sequence is not None:
            sequences[str(each["streamId"])] = sequence
    return sequences


def closing_text(owed: JsonObject, now_ms: int) -> str:
    """Return a closing chunk as JSON."""
    return encode_json(closing_chunk(owed, now_ms), name="the closing chunk")


class _Facts(TypedDict):
    turn_id: str
    writer: str
    incarnation: str | None
    pauses: bool


def closing_facts(owed: JsonObject) -> _Facts:
    """Return what names a closing chunk to its stream."""
    facts: dict[str, Any] = owed
    return {
        "turn_id": facts["turnId"],
        "writer": facts["writer"],
        "incarnation": facts.get("incarnation"),
        "pauses": facts.get("pauses", False),
    }
