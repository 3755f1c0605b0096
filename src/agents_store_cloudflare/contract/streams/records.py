"""The records of streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Required, TypedDict

from agents_store_cloudflare.contract.json_values import JsonValue
from agents_store_cloudflare.contract.record import Record

__all__ = ["BufferOverflowEvent", "StreamChunk", "StreamInfo", "StreamMark"]


class StreamChunk(TypedDict, total=False):
    """One chunk of a stream: a plain dict. Only `type` is required. A chunk may have other keys with any JSON."""

    type: Required[str]
    agentId: str
    agentType: str
    timestamp: int
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamInfo(Record):
    """The status, numbers and outcome of a stream.

    `first_sequence` is the sequence of the oldest chunk that is kept. `last_sequence` is the sequence of the newest chunk, 0 before
    the first one.
    """

    stream_id: str
    status: Literal["active", "paused", "ended", "failed"]
    end_status: str | None = None
    first_sequence: int
    last_sequence: int
    count: int
    output: JsonValue = None
    error: str | None = None
    writers: int = 0
    created_at: int
    updated_at: int
    ended_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferOverflowEvent(Record):
    """A writer with `overflow="drop_oldest"` has dropped `dropped_count` chunks."""

    stream_id: str
    dropped_count: int
    buffer_size: int


class StreamMark(NamedTuple):
    """The state of a stream at a moment. A deletion with this mark leaves later chunks alone.

    Attributes:
        life: it changes with every reset and deletion. None before the first of them.
        last_sequence: the sequence of its newest chunk.
        fencing_token: the highest fencing token that the stream has seen.
    """

    life: str | None
    last_sequence: int
    fencing_token: int | None
