"""What a stream's object knows about the stream as a whole, and how it lies in row 0."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from agents_store_cloudflare.errors import MigrationError

__all__ = ["SCHEMA_VERSION", "StreamHead", "StreamStatus", "decode_head", "encode_head"]

SCHEMA_VERSION: Final = 1
"""Stored in row 0. A later version reads it first and brings the table up to date."""

StreamStatus: TypeAlias = Literal["active", "ended", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamHead:
    """A stream as it stands.

    Attributes:
        output: the JSON text given at the end, None before it.
        last_sequence: of the newest chunk; `first_sequence` - 1 where there is none.
    """

    status: StreamStatus
    end_status: str | None = None
    output: str | None = None
    error: str | None = None
    first_sequence: int
    last_sequence: int
    fencing_token: int | None
    created_at: int
    updated_at: int
    ended_at: int | None = None


def encode_head(head: StreamHead) -> str:
    """The text of row 0: a JSON object, then the output's JSON text as its caller encoded it on a line of its own.

    The last sequence and the time of the last append are the newest block's: a plain append leaves row 0.
    """
    facts = {
        "schemaVersion": SCHEMA_VERSION,
        "status": head.status,
        "endStatus": head.end_status,
        "error": head.error,
        "firstSequence": head.first_sequence,
        "fencingToken": head.fencing_token,
        "createdAt": head.created_at,
        "endedAt": head.ended_at,
    }
    text = json.dumps(facts, ensure_ascii=False, separators=(",", ":"))
    return text if head.output is None else f"{text}\n{head.output}"


def decode_head(stream_id: str, text: str, newest: tuple[int, int] | None) -> StreamHead:
    """The head of row 0 and of the newest block's last sequence and time.

    Raises:
        MigrationError: newer code wrote it.
    """
    first_line, _, output = text.partition("\n")
    facts: dict[str, Any] = json.loads(first_line)
    if facts["schemaVersion"] > SCHEMA_VERSION:
        raise MigrationError(
            f"stream {stream_id!r} has schema version {facts['schemaVersion']}, this code knows {SCHEMA_VERSION}; "
            "deploy the newer code"
        )
    last_sequence, written_at = newest or (facts["firstSequence"] - 1, facts["createdAt"])
    return StreamHead(
        status=facts["status"],
        end_status=facts["endStatus"],
        output=output or None,
        error=facts["error"],
        first_sequence=facts["firstSequence"],
        last_sequence=last_sequence,
        fencing_token=facts["fencingToken"],
        created_at=facts["createdAt"],
        updated_at=max(written_at, facts["endedAt"] or 0),
        ended_at=facts["endedAt"],
    )
