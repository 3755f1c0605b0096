"""The head of a stream: the facts about the whole stream, and the text of row 0 that stores them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from agents_store_cloudflare.contract.errors import MigrationError
from agents_store_cloudflare.streams.commits import Commits
from agents_store_cloudflare.streams.protocol_state import ProtocolState

__all__ = [
    "KEEP_EVERYTHING",
    "SCHEMA_VERSION",
    "ClosedTurn",
    "Flushes",
    "Retention",
    "StreamHead",
    "StreamStatus",
    "decode_head",
    "encode_head",
]

SCHEMA_VERSION: Final = 2
"""The version of the format of row 0, stored there."""

StreamStatus: TypeAlias = Literal["active", "paused", "ended", "failed"]

Flushes: TypeAlias = "Mapping[str, tuple[int, int]]"
"""Writer -> the number of its newest flush, and the last sequence of that flush."""

ClosedTurn: TypeAlias = "tuple[str, int, str]"
"""A turn with a closing chunk: the turn id, the sequence of the chunk, the turn's own writer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long a stream is kept. A value of None sets no limit.

    Attributes:
        after_end_ms: the time from the stream's end or failure to its deletion.
        idle_ms: the time from the last change of a stream that has not ended to its deletion.
        max_chunks: at least this number of the newest chunks is kept, and at most a quarter more.
    """

    after_end_ms: int | None = None
    idle_ms: int | None = None
    max_chunks: int | None = None


KEEP_EVERYTHING: Final = Retention()


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamHead:
    """The state of one stream.

    Attributes:
        output: the JSON text that the caller gave to the end; None before the end.
        first_sequence: the floor: the sequence of the oldest chunk that is kept, or of the next chunk if none is kept.
        last_sequence: the sequence of the newest chunk; `first_sequence` - 1 if none is kept.
        incarnation: the name of this life of the stream. A reset or a deletion begins the next life. "" in the first life.
        begun_after: the last sequence before this life began; 0 in the first life. A position from 1 to `begun_after` belongs to an
            earlier life.
        unknown: two sequences, for a stream that was restored from a copy. Before the restoration the stream used the sequences
            above the first, up to the second. The copy does not have them. A position among them belongs to an earlier life.
        is_deleted: the stream is deleted. This row keeps the numbers, the fence, the commits, and the flushes that may be repeated.
        alarm_at: the time for which the retention alarm was set last.
        ceiling: chunks up to this sequence may have been shown before they were stored.
        has_gaps: a crash has lost chunks that were shown; their numbers are missing.
        forgotten_flushes: the newest flush of each writer whose chunks are no longer kept. A repetition of it is recognised.
        facts: the state of the Durable Streams protocol, if the stream was made over it.
        closed_turns: the newest turns with a closing chunk, in the order of these chunks.
        commits: the requests that ended, reset, deleted or otherwise changed the stream. A request that changed nothing is
            remembered in memory only.
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
    unknown: tuple[int, int] = (0, 0)
    is_deleted: bool = False
    retention: Retention = KEEP_EVERYTHING
    alarm_at: int | None = None
    ceiling: int | None = None
    has_gaps: bool = False
    forgotten_flushes: Flushes = field(default_factory=dict[str, tuple[int, int]])
    facts: ProtocolState | None = None
    closed_turns: Sequence[ClosedTurn] = ()
    commits: Commits = field(default_factory=dict[str, str], compare=False)

    @property
    def closed_turn(self) -> ClosedTurn | None:
        """The turn with the newest closing chunk; None before the first closing chunk."""
        return self.closed_turns[-1] if self.closed_turns else None

    @property
    def is_closed(self) -> bool:
        """Whether the stream has ended or failed."""
        return self.ended_at is not None

    def is_of_earlier_life(self, position: int) -> bool:
        """Return whether this position belongs to an earlier life of the stream: before a reset, a deletion or a restoration."""
        return 0 < position <= self.begun_after or self.unknown[0] < position <= self.unknown[1]

    @property
    def due_ms(self) -> int | None:
        """When the stream is deleted if nothing changes; None for never."""
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
    """Return the text of row 0: the first line is a JSON object, the second line is the output as its caller encoded it.

    A plain append does not change row 0. So the newest block may have a higher last sequence and a later time than row 0; then the
    block's values count.
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
        "unknown": head.unknown,
        "isDeleted": head.is_deleted,
        "retention": [retention.after_end_ms, retention.idle_ms, retention.max_chunks],
        "alarmAt": head.alarm_at,
        "ceiling": head.ceiling,
        "hasGaps": head.has_gaps,
        "forgottenFlushes": head.forgotten_flushes,
        "protocol": None if head.facts is None else head.facts.to_json(),
        "closedTurns": head.closed_turns,
        "commits": head.commits,
    }
    text = json.dumps(members, ensure_ascii=False, separators=(",", ":"))
    return text if head.output is None else f"{text}\n{head.output}"


def decode_head(stream_id: str, text: str, newest: tuple[int, int] | None) -> StreamHead:
    """Return the head of row 0, with the newest block's last sequence and time.

    A ceiling above the newest block means a crash: the shown chunks up to the ceiling are lost, and their numbers stay used.

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
        unknown=tuple(members.get("unknown", (0, 0))),
        is_deleted=members["isDeleted"],
        retention=Retention(after_end_ms=after_end_ms, idle_ms=idle_ms, max_chunks=max_chunks),
        alarm_at=members["alarmAt"],
        ceiling=ceiling,
        has_gaps=members["hasGaps"] or (ceiling or 0) > stored_last,
        forgotten_flushes={writer: (number, last) for writer, (number, last) in members["forgottenFlushes"].items()},
        facts=None if protocol is None else ProtocolState.from_json(protocol),
        closed_turns=tuple((turn_id, sequence, writer) for turn_id, sequence, writer in members.get("closedTurns", ())),
        commits=members["commits"],
    )
