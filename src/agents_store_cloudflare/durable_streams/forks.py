"""Forks: a new stream that begins with a copy of another one's messages, under the same numbers.

The copy is whole: a fork reads like any stream, and its source may go. What stays between the two is a name at each end:
the source counts its forks, whose number keeps its path from being used again after it was deleted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, cast

from agents_store_cloudflare.contract.errors import StreamConnectionError
from agents_store_cloudflare.database import ObjectSql
from agents_store_cloudflare.durable_streams import sql as q
from agents_store_cloudflare.durable_streams.core import ProtocolLog, facts_of
from agents_store_cloudflare.durable_streams.messages import cut_message, encode_body, size_of_message
from agents_store_cloudflare.durable_streams.offsets import Position
from agents_store_cloudflare.durable_streams.refusals import Refusal
from agents_store_cloudflare.durable_streams.requests import Creation
from agents_store_cloudflare.streams.blocks import split_blocks
from agents_store_cloudflare.streams.head import StreamHead
from agents_store_cloudflare.streams.log import StreamLog
from agents_store_cloudflare.streams.protocol_state import ForkSource, ProtocolState, media_type

__all__ = ["ForkPoint", "IncomingPages", "check_fork_alike", "fork_facts", "fork_point"]

WALK_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkPoint:
    """How far a fork goes.

    Attributes:
        sequence: the offset that was asked for; `sub_offset` what goes beyond.
        last_sequence: of the last message that is copied whole.
        cut: the first bytes of the next one, as a message; None where there are none.
        first_sequence: of the first one.
    """

    sequence: int
    sub_offset: int
    first_sequence: int
    last_sequence: int
    cut: str | None


def fork_point(rules: ProtocolLog, position: Position | None, sub_offset: int, content_type: str | None) -> ForkPoint:
    """Where a fork of this stream parts from it.

    Raises:
        Refusal: 404, 409 where it was deleted or holds another content type; 400, past the end; 410, no longer kept.
    """
    if rules.is_soft_deleted():
        raise Refusal(409, "stream_gone", "the source was deleted")
    head = rules.existing()
    facts = facts_of(head)
    if content_type is not None and media_type(content_type) != media_type(facts.content_type):
        raise Refusal(409, "content_type_mismatch", f"the source holds {facts.content_type}")
    sequence = head.last_sequence if position is None else rules.position(position)
    if sequence < head.first_sequence - 1:
        raise Refusal(410, "stream_truncated", "the source no longer keeps what comes before this offset")
    last, cut = _beyond(rules, head, sequence, sub_offset)
    return ForkPoint(
        sequence=sequence, sub_offset=sub_offset, first_sequence=head.first_sequence, last_sequence=last, cut=cut
    )


def fork_facts(
    source: ProtocolState, source_id: str, point: ForkPoint, creation: Creation, now_ms: int
) -> ProtocolState:
    """Those of the fork: the source's, but for what the request says."""
    is_said = creation.ttl_s is not None or creation.expires_at is not None
    return ProtocolState(
        content_type=creation.content_type or source.content_type,
        ttl_s=creation.ttl_s if is_said else source.ttl_s,
        expires_at=creation.expires_at if is_said else source.expires_at,
        touched_ms=now_ms,
        written_touch_ms=now_ms,
        source=ForkSource(stream_id=source_id, sequence=point.sequence, sub_offset=point.sub_offset),
    )


def check_fork_alike(
    head: StreamHead, creation: Creation, source_id: str, position: Position | None, sub_offset: int
) -> None:
    """The stream there is the fork that was asked for; what the request leaves open may be as it is.

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
        and position in (None, source.sequence, *(("start",) if source.sequence == 0 else ()))
        and creation.is_closed == head.is_closed
        and said in ((None, None), (facts.ttl_s, facts.expires_at))
        and media_type(creation.content_type or facts.content_type) == media_type(facts.content_type)
    )
    if not is_alike:
        raise Refusal(409, "stream_exists", "there is a stream here, made with other options")


def _beyond(rules: ProtocolLog, head: StreamHead, sequence: int, sub_offset: int) -> tuple[int, str | None]:
    facts = facts_of(head)
    if sub_offset == 0:
        return sequence, None
    if facts.is_json:
        if sequence + sub_offset > head.last_sequence:
            raise _overshoot()
        return sequence + sub_offset, None
    for number, text in _messages(rules, head, sequence):
        size_bytes = size_of_message(text)
        if sub_offset < size_bytes:
            return number - 1, cut_message(text, sub_offset, is_text=facts.is_text)
        sub_offset -= size_bytes
        if sub_offset == 0:
            return number, None
    raise _overshoot()


def _messages(rules: ProtocolLog, head: StreamHead, sequence: int) -> Iterator[tuple[int, str]]:
    while sequence < head.last_sequence:
        page = rules.read(sequence, max_bytes=WALK_BYTES)
        yield from enumerate(page.body.split("\n"), page.first_sequence)
        sequence = page.last_sequence


def _overshoot() -> Refusal:
    return Refusal(400, "invalid_offset", "Stream-Fork-Sub-Offset goes beyond what the source holds")


class IncomingPages:
    """A fork under way: its pages are stored as they come, and the stream is made from them at once."""

    def __init__(self, sql: ObjectSql, log: StreamLog, rules: ProtocolLog) -> None:
        self._sql = sql
        self._log = log
        self._rules = rules

    def take(self, token: str, number: int, lines: str) -> None:
        """Store a page beside the stream, instead of what another attempt has left."""

        def write() -> None:
            if number == 0:
                self._sql.exec(q.DROP_INCOMING)
            self._sql.exec(q.CREATE_INCOMING)
            for part, block in enumerate(split_blocks(self._log.stream_id, lines)):
                self._sql.exec(q.INSERT_INCOMING, number * 1_000 + part, token, block.body)

        self._sql.transaction(write)

    def finish(
        self,
        token: str,
        pages: int,
        last: str,
        *,
        facts: ProtocolState,
        first_sequence: int,
        creation: Creation,
        now_ms: int,
    ) -> StreamHead:
        """Make the stream of the pages taken, of `last`, which was not, and of the request's own body.

        Raises:
            Refusal: 409, the path is taken.
            StreamConnectionError: another attempt came in between; the request may be sent again.
        """
        self._rules.check_unused()
        own = encode_body(facts, creation.body) if creation.body else ""

        def write() -> StreamHead:
            self._rules.begin(facts, [], closes=False, now_ms=now_ms, first_sequence=first_sequence)
            for lines in self._stored(token, pages) if pages else ():
                self._rules.add(lines, now_ms=now_ms)
            for lines in (last, own):
                if lines:
                    self._rules.add(lines, now_ms=now_ms)
            if pages:
                self._sql.exec(q.DROP_INCOMING)
            head = self._log.existing_head()
            return self._log.close_with(facts_of(head), now_ms=now_ms) if creation.is_closed else head

        return self._log.atomically(write)

    def _stored(self, token: str, pages: int) -> Iterator[str]:
        keys = cast("list[list[int]]", self._sql.exec(q.SELECT_INCOMING_KEYS, token))
        if {int(key) // 1_000 for [key] in keys} != set(range(pages)):
            raise StreamConnectionError("the fork was begun by two requests at once; send it again")
        for [key] in keys:
            yield cast("str", self._sql.exec(q.SELECT_INCOMING, key)[0][0])
