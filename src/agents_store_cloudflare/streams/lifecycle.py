"""The rules of a stream's life: each rule takes a head and returns the head after a call.

Rules do no I/O. The log stores the result.

```text
             pause            end, fail
   active ─────────▶ paused ───────────▶ ended / failed ── retention ──▶ deleted
     ▲  ◀───────────                        │                              │
     │     resume                           │ reset                        │ created again:
     └──────────────────────────────────────┘ (from every status)          ▼ numbers go on
```

A rule returns the same head object if there is nothing to do.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Final

from agents_store_cloudflare.contract.errors import StreamClosedError
from agents_store_cloudflare.streams.head import Flushes, Retention, StreamHead, StreamStatus

__all__ = [
    "begin",
    "close",
    "closed_error",
    "delete",
    "next_alarm_ms",
    "pause",
    "planned",
    "reset",
    "resume",
    "revive",
    "truncate",
]

FORGOTTEN_FLUSHES: Final = 1_000
"""The number of writers whose newest flush is remembered after its chunks are gone."""

SLACK: Final = 24
"""The part of a span by which its alarm is late. So one alarm is enough for a stream that ends soon after its creation."""


def begin(retention: Retention, fencing_token: int | None, now_ms: int) -> StreamHead:
    """Return the head of a stream whose id was never used."""
    return StreamHead(
        status="active",
        first_sequence=1,
        last_sequence=0,
        fencing_token=fencing_token,
        created_at=now_ms,
        updated_at=now_ms,
        retention=retention,
    )


def pause(stream_id: str, head: StreamHead, now_ms: int) -> StreamHead:
    """Return the head of a stream that takes no chunks until it is resumed.

    Raises:
        StreamClosedError: the stream has ended or failed.
    """
    return _set_open(stream_id, head, "paused", now_ms)


def resume(stream_id: str, head: StreamHead, now_ms: int) -> StreamHead:
    """Return the head of a stream that takes chunks again.

    Raises:
        StreamClosedError: the stream has ended or failed; only a reset changes that.
    """
    return _set_open(stream_id, head, "active", now_ms)


def close(
    stream_id: str,
    head: StreamHead,
    status: StreamStatus,
    now_ms: int,
    *,
    end_status: str | None = None,
    output: str | None = None,
    error: str | None = None,
) -> StreamHead:
    """Return the head with the outcome, or the same head if it has this outcome already.

    Raises:
        StreamClosedError: it has another outcome.
    """
    if head.is_closed:
        same = (head.status, head.end_status, head.error) == (status, end_status, error)
        if same and _are_alike(head.output, output):
            return head
        raise closed_error(stream_id, head)
    return replace(
        head, status=status, end_status=end_status, output=output, error=error, updated_at=now_ms, ended_at=now_ms
    )


def reset(head: StreamHead, flushes: Flushes, now_ms: int) -> StreamHead:
    """Return the head of the stream's next life: active, without chunks; the numbers go on."""
    return replace(
        head,
        status="active",
        end_status=None,
        output=None,
        error=None,
        first_sequence=head.last_sequence + 1,
        updated_at=now_ms,
        ended_at=None,
        incarnation=str(int(head.incarnation or 0) + 1),
        begun_after=head.last_sequence,
        ceiling=None,
        has_gaps=False,
        forgotten_flushes=_newest_before(head.last_sequence + 1, flushes),
    )


def delete(head: StreamHead, flushes: Flushes, now_ms: int) -> StreamHead:
    """Return the head that stays after a deletion: numbers, fence, commits and the flushes that may be repeated."""
    return replace(reset(head, flushes, now_ms), is_deleted=True, alarm_at=None)


def revive(head: StreamHead, now_ms: int) -> StreamHead:
    """Return the head of a stream that is created again after its deletion."""
    return replace(head, is_deleted=False, created_at=now_ms, updated_at=now_ms)


def truncate(head: StreamHead, first_sequence: int, flushes: Flushes) -> StreamHead:
    """Return the head whose floor is `first_sequence`. The floor never falls, and never passes the next number."""
    floor = max(head.first_sequence, min(first_sequence, head.last_sequence + 1))
    if floor == head.first_sequence:
        return head
    return replace(head, first_sequence=floor, forgotten_flushes=_newest_before(floor, flushes))


def planned(head: StreamHead, now_ms: int) -> StreamHead:
    """Return the head with its alarm.

    An alarm is set anew only after it has rung or when it would ring too late, because each setting costs a row.
    """
    at_ms = _planned_ms(head)
    is_set = head.alarm_at is not None and now_ms <= head.alarm_at and (at_ms is None or head.alarm_at <= at_ms)
    return head if is_set or at_ms is None else replace(head, alarm_at=at_ms)


def next_alarm_ms(head: StreamHead) -> int | None:
    """Return the time of the next alarm, after an alarm that found nothing due."""
    return head.due_ms


def closed_error(stream_id: str, head: StreamHead) -> StreamClosedError:
    """Return the error of a stream that takes no chunks."""
    return StreamClosedError(stream_id, status=head.status, end_status=head.end_status)


def _planned_ms(head: StreamHead) -> int | None:
    if head.is_closed:
        since_ms, span_ms = head.ended_at or 0, head.retention.after_end_ms
    else:
        # The stream may end at any moment, so the shorter span decides.
        spans = [span for span in (head.retention.idle_ms, head.retention.after_end_ms) if span is not None]
        since_ms, span_ms = head.updated_at, min(spans) if head.retention.idle_ms is not None else None
    planned_ms = None if span_ms is None else since_ms + span_ms + span_ms // SLACK
    by_protocol = None if head.facts is None else head.facts.due_ms(head.updated_at)
    if planned_ms is None or by_protocol is None:
        return by_protocol if planned_ms is None else planned_ms
    return min(planned_ms, by_protocol)


def _set_open(stream_id: str, head: StreamHead, status: StreamStatus, now_ms: int) -> StreamHead:
    if head.is_closed:
        raise closed_error(stream_id, head)
    return head if head.status == status else replace(head, status=status, updated_at=now_ms)


def _newest_before(floor: int, flushes: Flushes) -> Flushes:
    """Return the newest flushes whose chunks are no longer kept. The blocks name the other flushes."""
    gone = [(writer, newest) for writer, newest in flushes.items() if newest[1] < floor]
    return dict(sorted(gone, key=lambda flush: flush[1][1])[-FORGOTTEN_FLUSHES:])


def _are_alike(one: str | None, other: str | None) -> bool:
    """Return whether two JSON texts are equal. The order of keys does not matter. 1 and 1.0 are not equal."""
    return one == other or (one is not None and other is not None and _sorted(one) == _sorted(other))


def _sorted(text: str) -> str:
    return json.dumps(json.loads(text), sort_keys=True)
