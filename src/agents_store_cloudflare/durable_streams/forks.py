"""Forks: a new stream that begins with a copy of another stream's messages, under the same numbers.

A fork has its own copy of all messages. So it is read like any stream, and its source may be deleted. The two streams keep each
other's names. A deleted source keeps its path as long as it has forks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from agents_store_cloudflare.durable_streams.core import ProtocolLog
from agents_store_cloudflare.durable_streams.messages import MAX_BODY_BYTES, cut_message, size_of_message
from agents_store_cloudflare.durable_streams.offsets import Offset, Position
from agents_store_cloudflare.durable_streams.refusals import Refusal
from agents_store_cloudflare.durable_streams.requests import Creation
from agents_store_cloudflare.durable_streams.stream_facts import facts_of
from agents_store_cloudflare.streams.head import StreamHead
from agents_store_cloudflare.streams.protocol_state import ForkSource, ProtocolState, media_type

__all__ = ["ForkPoint", "begin_point", "check_fork_alike", "check_same_life", "fork_facts", "walk"]

WALK_BYTES: Final = 1024 * 1024
"""The most bytes of a source that one call to its object searches for the end of a sub-offset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkPoint:
    """The point up to which a fork copies its source.

    Attributes:
        sequence: the offset of the request. `sub_offset` counts the messages or bytes after it.
        first_sequence: the sequence of the first copied message.
        last_sequence: the sequence of the last message that is copied whole.
        cut: the first bytes of the next message, as a message; None if no message is cut.
        left: how many bytes of the sub-offset are still to be found; 0 when the point is known.
        incarnation: the name of the source's life.
    """

    sequence: int
    sub_offset: int
    first_sequence: int
    last_sequence: int
    cut: str | None = None
    left: int = 0
    incarnation: str = ""


def begin_point(rules: ProtocolLog, position: Position | None, sub_offset: int, content_type: str | None) -> ForkPoint:
    """Return the point of a fork of this stream. If the sub-offset counts bytes, `walk` then finds its end.

    Raises:
        Refusal: 404; 409, it was deleted or holds another content type; 400, past the end; 410, no longer kept.
    """
    if rules.path.is_soft_deleted():
        raise Refusal(409, "stream_gone", "the source was deleted")
    head = rules.existing()
    facts = facts_of(head)
    if content_type is not None and media_type(content_type) != media_type(facts.content_type):
        raise Refusal(409, "content_type_mismatch", f"the source holds {facts.content_type}")
    sequence = head.last_sequence if position is None else rules.position(position)
    if sequence < head.first_sequence - 1:
        raise Refusal(410, "stream_truncated", "the source no longer keeps the messages before this offset")
    if facts.is_json and sequence + sub_offset > head.last_sequence:
        raise _overshoot()
    if not facts.is_json and sub_offset > MAX_BODY_BYTES:
        message = f"Stream-Fork-Sub-Offset may be {MAX_BODY_BYTES:,} bytes; name a later Stream-Fork-Offset"
        raise Refusal(400, "invalid_offset", message)
    return ForkPoint(
        sequence=sequence,
        sub_offset=sub_offset,
        first_sequence=head.first_sequence,
        last_sequence=sequence + sub_offset if facts.is_json else sequence,
        left=0 if facts.is_json else sub_offset,
        incarnation=head.incarnation,
    )


def check_same_life(rules: ProtocolLog, point: ForkPoint) -> StreamHead:
    """Return the source's head, if the source is still in the life in which the point was found.

    Raises:
        Refusal: 404, 410.
    """
    head = rules.existing()
    if head.incarnation != point.incarnation:
        raise Refusal(410, "stream_truncated", "the source was reset or made anew while it was copied")
    return head


def walk(rules: ProtocolLog, point: ForkPoint) -> ForkPoint:
    """Search one more page of the source for the end of the sub-offset. When it is found, the returned point's `left` is 0.

    Raises:
        Refusal: 400, the sub-offset goes beyond the end of the source; 404, 410.
    """
    head = check_same_life(rules, point)
    if point.last_sequence >= head.last_sequence:
        raise _overshoot()
    page = rules.read(point.last_sequence, max_bytes=WALK_BYTES)
    left = point.left
    for number, text in enumerate(page.body.split("\n"), page.first_sequence):
        size_bytes = size_of_message(text)
        if left < size_bytes:
            cut = cut_message(text, left, is_text=facts_of(head).is_text)
            return replace(point, last_sequence=number - 1, cut=cut, left=0)
        left -= size_bytes
        if left == 0:
            return replace(point, last_sequence=number, left=0)
    return replace(point, last_sequence=page.last_sequence, left=left)


def fork_facts(source: ProtocolState, origin: ForkSource, creation: Creation, now_ms: int) -> ProtocolState:
    """Return the facts of a fork. Some come from the request, the others from the source."""
    is_said = creation.ttl_s is not None or creation.expires_at is not None
    return ProtocolState(
        content_type=creation.content_type or source.content_type,
        ttl_s=creation.ttl_s if is_said else source.ttl_s,
        expires_at=creation.expires_at if is_said else source.expires_at,
        touched_ms=now_ms,
        written_touch_ms=now_ms,
        source=origin,
    )


def check_fork_alike(
    head: StreamHead, creation: Creation, source_id: str, position: Position | None, sub_offset: int
) -> None:
    """Check that the stream at this path is the wanted fork. An option that the request omits may have any value.

    Raises:
        Refusal: 409.
    """
    facts = facts_of(head)
    source = facts.source
    said = (creation.ttl_s, creation.expires_at)
    is_alike = (
        source is not None
        and source.stream_id == source_id
        and source.sub_offset == sub_offset
        and _is_place(position, source.sequence)
        and creation.is_closed == head.is_closed
        and said in ((None, None), (facts.ttl_s, facts.expires_at))
        and media_type(creation.content_type or facts.content_type) == media_type(facts.content_type)
    )
    if not is_alike:
        raise Refusal(409, "stream_exists", "there is a stream here, made with other options")


def _is_place(position: Position | None, sequence: int) -> bool:
    if isinstance(position, Offset):
        return position.sequence == sequence
    return position is None or (position == "start" and sequence == 0)


def _overshoot() -> Refusal:
    return Refusal(400, "invalid_offset", "Stream-Fork-Sub-Offset goes beyond the end of the source")
