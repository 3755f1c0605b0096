"""What a writer takes: a JSON object with a text `type`, stamped and encoded once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from agents_store_cloudflare.contract.errors import InvalidArgumentError, StreamChunkTooLargeError
from agents_store_cloudflare.contract.json_values import encode_json

__all__ = ["EncodedChunk", "encode_chunk"]


@dataclass(slots=True, eq=False)
class EncodedChunk:
    """A chunk as it will be stored, and when it was taken. One is made for every chunk, and no more than one.

    Attributes:
        place: in the buffer of its writer; they rise and are never used again.
        expected_sequence: the condition under which it was written.
    """

    text: str
    size_bytes: int
    taken_ms: int
    place: int = 0
    expected_sequence: int | None = None


def encode_chunk(
    stream_id: str, chunk: Mapping[str, object], *, agent_id: str, agent_type: str, now_ms: int, limit_bytes: int
) -> EncodedChunk:
    """The chunk with `agentId`, `agentType` and `timestamp` added where it lacks them; its own keys stay as they are.

    Raises:
        TypeError: not a mapping, `type` is not text, or it holds what JSON cannot.
        InvalidArgumentError: no `type`, or a value that JSON cannot carry.
        StreamChunkTooLargeError: over `limit_bytes`.
    """
    given = cast("object", chunk)
    if type(given) is not dict and not isinstance(given, Mapping):
        raise TypeError(f"chunk must be a mapping, not {type(chunk).__name__}")
    if "type" not in chunk:
        raise InvalidArgumentError("chunk has no 'type'; every chunk needs one, as text")
    if not isinstance(chunk["type"], str):
        raise TypeError(f"chunk has a 'type' that is not text but {type(chunk['type']).__name__}")
    stamped: dict[str, object] = dict(chunk)
    stamped.setdefault("agentId", agent_id)
    stamped.setdefault("agentType", agent_type)
    stamped.setdefault("timestamp", now_ms)
    text = encode_json(stamped, name="chunk")
    size_bytes = len(text) if text.isascii() else len(text.encode())
    if size_bytes > limit_bytes:
        raise StreamChunkTooLargeError(stream_id, limit_bytes=limit_bytes, size_bytes=size_bytes)
    return EncodedChunk(text, size_bytes, now_ms)
