"""The chunks that a writer takes: they are checked, get their agent and time, and are encoded once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agents_store_cloudflare.contract.errors import InvalidArgumentError, StreamChunkTooLargeError
from agents_store_cloudflare.contract.json_values import encode_json

__all__ = ["EncodedChunk", "encode_chunk"]


@dataclass(slots=True, eq=False)
class EncodedChunk:
    """The JSON text of a chunk, with the time at which its writer took the chunk.

    Attributes:
        place: its place in the writer's buffer. Places rise, and a place is never used again.
        expected_sequence: the sequence that it must get; None for any.
    """

    text: str
    size_bytes: int
    taken_ms: int
    place: int = 0
    expected_sequence: int | None = None


def encode_chunk(
    stream_id: str, chunk: Mapping[str, object], *, agent_id: str, agent_type: str, now_ms: int, limit_bytes: int
) -> EncodedChunk:
    """Return the chunk as JSON text. `agentId`, `agentType` and `timestamp` are added if they are missing.

    Raises:
        TypeError: the chunk is not a mapping, its `type` is not text, or a value has a type that JSON lacks.
        InvalidArgumentError: there is no `type`, or a value cannot be written in JSON.
        StreamChunkTooLargeError: the text is over `limit_bytes`.
    """
    kind: type = type(chunk)
    if kind is not dict and not issubclass(kind, Mapping):
        raise TypeError(f"chunk must be a mapping, not {kind.__name__}")
    if "type" not in chunk:
        raise InvalidArgumentError("chunk has no 'type'; every chunk needs one, as text")
    if not isinstance(chunk["type"], str):
        raise TypeError(f"chunk's 'type' must be text, not {type(chunk['type']).__name__}")
    stamped: dict[str, object] = dict(chunk)
    stamped.setdefault("agentId", agent_id)
    stamped.setdefault("agentType", agent_type)
    stamped.setdefault("timestamp", now_ms)
    text = encode_json(stamped, name="chunk")
    size_bytes = len(text) if text.isascii() else len(text.encode())
    if size_bytes > limit_bytes:
        raise StreamChunkTooLargeError(stream_id, limit_bytes=limit_bytes, size_bytes=size_bytes)
    return EncodedChunk(text, size_bytes, now_ms)
