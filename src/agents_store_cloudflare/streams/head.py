"""What a stream's object knows about the stream as a whole, and how it lies in row 0."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from agents_store_cloudflare.contract.errors import MigrationError
from agents_store_cloudflare.streams.commits import Commits
from agents_store_cloudflare.streams.protocol_state import ProtocolState

__all__ = [
    "KEEP_EVERYTHING",
    "SCHEMA_VERSION",
    "Flushes",
    "Retention",
    "StreamHead",
    "StreamStatus",
    "decode_head",
    "encode_head",
]

SCHEMA_VERSION: Final = 2
"""Stored in row 0."""

StreamStatus: TypeAlias = Literal["active", "paused", "ended", "failed"]

Flushes: TypeAlias = "Mapping[str, tuple[int, int]]"
"""Writer -> the number of its newest flush, and the last sequence after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What a stream keeps; None keeps.

    Attributes:
        after_end_ms: how long after its end or failure it is deleted.
        idle_ms: how long after its last change it is deleted where it never ended.
        max_chunks: how many of the newest chunks are kept at least; a quarter more may be.
    """

    after_end_ms: int | None = None
    idle_ms: int | None = None
    max_chunks: int | None = None


KEEP_EVERYTHING: Final = Retention()


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamHead:
    """A stream as it stands.

    Attributes:
        output: the JSON text given at the end, None before it.
        first_sequence: the floor: of the oldest chunk kept, or of the next one where there is none.
        last_sequence: of the newest chunk; `first_sequence` - 1 where there is none.
        incarnation: names this life of the stream; a reset or a deletion begins the next one. "" in the first life.
        begun_after: the last sequence before this life began; 0 in the first one. A position of 1 to `begun_after` belongs
            to an earlier life.
        is_deleted: nothing is left but this row: the numbers, the fence, and the flushes that may come again.
        alarm_at: when the object was last told to wake up for retention.
        ceiling: chunks up to this number may have been shown before they were stored.
        has_gaps: some numbers were shown and then lost by a crash.
        forgotten_flushes: of chunks that are no longer kept: coming again they are still recognised.
        facts: of a stream that was made over the Durable Streams protocol.
        commits: requests that have changed the stream's life. A request that changed nothing is remembered in memory only.
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
    incarnation: str = ""
    begun_after: int = 0
    is_deleted: bool = False
    retention: Retention = KEEP_EVERYTHING
    alarm_at: int | None = None
    ceiling: int | None = None
    has_gaps: bool = False
    forgotten_flushes: Flushes = field(default_factory=dict[str, tuple[int, int]])
    facts: ProtocolState | None = None
    commits: Commits = field(default_factory=dict[str, str], compare=False)

    @property
    def is_closed(self) -> bool:
        """Whether it has its outcome."""
        return self.ended_at is not None

    def is_of_earlier_life(self, position: int) -> bool:
        """Whether a reader at this position has read an earlier life of the stream, before a reset or a deletion."""
        return 0 < position <= self.begun_after

    @property
    def due_ms(self) -> int | None:
        """When retention deletes it, if nothing changes; None keeps."""
        since_ms, span_ms = (
            (self.updated_at, self.retention.idle_ms)
            if self.ended_at is None
            else (self.ended_at, self.retention.after_end_ms)
        )
        if self.is_deleted:
            return None
        by_protocol = None if self.facts is None else self.facts.due_ms(self.updated_at)
        if span_ms is None or by_protocol is None:
            return by_protocol if span_ms is None else since_ms + span_ms
        return min(by_protocol, since_ms + span_ms)


def encode_head(head: StreamHead) -> str:
    """The text of row 0: a JSON object, then the output's JSON text as its caller encoded it on a line of its own.

    A plain append leaves row 0: the last sequence and the time of the last append are the newest block's where they are
    higher.
    """
    retention = head.retention
    members: dict[str, object] = {
        "schemaVersion": SCHEMA_VERSION,
        "status": head.status,
        "endStatus": head.end_status,
        "error": head.error,
        "firstSequence": head.first_sequence,
        "lastSequence": head.last_sequence,
        "fencingToken": head.fencing_token,
        "createdAt": head.created_at,
        "updatedAt": head.updated_at,
        "endedAt": head.ended_at,
        "incarnation": head.incarnation,
        "begunAfter": head.begun_after,
        "isDeleted": head.is_deleted,
        "retention": [retention.after_end_ms, retention.idle_ms, retention.max_chunks],
        "alarmAt": head.alarm_at,
        "ceiling": head.ceiling,
        "hasGaps": head.has_gaps,
        "forgottenFlushes": head.forgotten_flushes,
        "protocol": None if head.facts is None else head.facts.to_json(),
        "commits": head.commits,
    }
    text = json.dumps(members, ensure_ascii=False, separators=(",", ":"))
    return text if head.output is None else f"{text}\n{head.output}"


def decode_head(stream_id: str, text: str, newest: tuple[int, int] | None) -> StreamHead:
    """The head of row 0 and of the newest block's last sequence and time.

    A ceiling above the newest block is a crash: what was shown up to it is lost, and its numbers are taken.

    Raises:
        MigrationError: newer code wrote it.
    """
    first_line, _, output = text.partition("\n")
    members: dict[str, Any] = json.loads(first_line)
    if members["schemaVersion"] > SCHEMA_VERSION:
        raise MigrationError(
            f"stream {stream_id!r} has schema version {members['schemaVersion']}, this code knows {SCHEMA_VERSION}; "
            "deploy the newer code"
        )
    stored_last, written_at = newest or (0, 0)
    stored_last = max(stored_last, members["firstSequence"] - 1)
    ceiling: int | None = members["ceiling"]
    after_end_ms, idle_ms, max_chunks = members["retention"]
    protocol: dict[str, Any] | None = members["protocol"]
    return StreamHead(
        status=members["status"],
        end_status=members["endStatus"],
        output=output or None,
        error=members["error"],
        first_sequence=members["firstSequence"],
        last_sequence=max(stored_last, members["lastSequence"], ceiling or 0),
        fencing_token=members["fencingToken"],
        created_at=members["createdAt"],
        updated_at=max(written_at, members["updatedAt"], members["endedAt"] or 0),
        ended_at=members["endedAt"],
        incarnation=members["incarnation"],
        begun_after=members["begunAfter"],
        is_deleted=members["isDeleted"],
        retention=Retention(after_end_ms=after_end_ms, idle_ms=idle_ms, max_chunks=max_chunks),
        alarm_at=members["alarmAt"],
        ceiling=ceiling,
        has_gaps=members["hasGaps"] or (ceiling or 0) > stored_last,
        forgotten_flushes={writer: (number, last) for writer, (number, last) in members["forgottenFlushes"].items()},
        facts=None if protocol is None else ProtocolState.from_json(protocol),
        commits=members["commits"],
    )
