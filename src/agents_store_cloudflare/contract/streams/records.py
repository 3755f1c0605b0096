"""The records of streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Required, TypedDict

from agents_store_cloudflare.contract.json_values import JsonValue
from agents_store_cloudflare.contract.record import Record

__all__ = ["BufferOverflowEvent", "StreamChunk", "StreamInfo", "StreamMark"]


class StreamChunk(TypedDict, total=False):
    """One chunk of a stream: a plain dict. Only `type` is required; any other JSON may stand beside these keys."""

    type: Required[str]
    agentId: str
    agentType: str
    timestamp: int
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamInfo(Record):
    """The status, numbers and outcome of a stream.

    `first_sequence` is the sequence of the oldest chunk kept, `last_sequence` that of the newest, 0 before the first chunk.
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
    """How a stream stood at a moment: a deletion that names it does not touch what came later.

    Attributes:
        life: it changes with every reset and deletion; None before the first.
        last_sequence: the number of its newest chunk.
        fencing_token: the highest one seen.
    """

    life: str | None
    last_sequence: int
    fencing_token: int | None
