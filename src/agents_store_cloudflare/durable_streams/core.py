"""The rules of the protocol on one stream: synchronous, over its log, with the time as an argument.

An anonymous append writes one row, as one of an idempotent producer does: its id, epoch and number lie in the block
(`writer`, `writer_sequence`), so that what is stored and what is remembered of it cannot come apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from agents_store_cloudflare.durable_streams.messages import encode_body
from agents_store_cloudflare.durable_streams.offsets import Position, offset_of
from agents_store_cloudflare.durable_streams.producers import Producers
from agents_store_cloudflare.durable_streams.refusals import Refusal
from agents_store_cloudflare.durable_streams.requests import Append, Creation, Producer
from agents_store_cloudflare.streams.commits import Commit
from agents_store_cloudflare.streams.head import StreamHead
from agents_store_cloudflare.streams.log import Appended, Page, StreamLog
from agents_store_cloudflare.streams.protocol_state import ForkSource, ProtocolState, media_type

__all__ = ["ANONYMOUS", "DEFAULT_TYPE", "Accepted", "ProtocolLog", "facts_of", "new_facts"]

DEFAULT_TYPE: Final = "application/octet-stream"
ANONYMOUS: Final = "http"
NATIVE: Final = ProtocolState()
"""A stream of the native side: JSON values, kept by its own retention."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What became of an append.

    Attributes:
        appended: what was stored; None where nothing was (a repetition, or a closure alone).
        lines: the messages stored.
        producer_seq: the highest number of the producer in its epoch.
    """

    head: StreamHead
    appended: Appended | None = None
    lines: str = ""
    is_repetition: bool = False
    producer: Producer | None = None
    producer_seq: int | None = None


class ProtocolLog:
    """One stream's log under the protocol's rules. Each call happens whole or not at all."""

    def __init__(self, log: StreamLog) -> None:
        self._log = log
        self._producers = Producers(log)

    def existing(self) -> StreamHead:
        """The stream as it stands.

        Raises:
            Refusal: 404, there is none; 410, it was deleted and its forks still hold its path.
        """
        head = self._log.head()
        if head is not None:
            return head
        if self.is_soft_deleted():
            raise Refusal(410, "stream_gone", "the stream was deleted; forks of it are still there")
        raise Refusal(404, "stream_not_found", "there is no such stream; create it with PUT")

    def is_soft_deleted(self) -> bool:
        """Whether it is gone but its path is taken, as long as it has forks."""
        return self._log.head() is None and bool(self.forks())

    def forks(self) -> tuple[str, ...]:
        """The streams that were forked from it."""
        last = self._log.last_known()
        return () if last is None or last.facts is None else last.facts.forks

    def create(self, creation: Creation, *, now_ms: int) -> tuple[StreamHead, bool]:
        """The stream, and whether it is new.

        Raises:
            Refusal: 409, there is another one here.
            InvalidArgumentError: the body is not what the content type says.
        """
        head = self._log.head()
        if head is not None:
            _check_alike(head, creation)
            return head, False
        self._check_free()
        facts = new_facts(creation, now_ms)
        lines = encode_body(facts, creation.body)
        return self.begin(facts, [lines] if lines else [], closes=creation.is_closed, now_ms=now_ms), True

    def begin(
        self, facts: ProtocolState, pages: list[str], *, closes: bool, now_ms: int, first_sequence: int = 1
    ) -> StreamHead:
        """Make the stream with what it begins with, all at once."""

        def write() -> StreamHead:
            last = self._log.last_known()
            living = replace(facts, life="" if last is None else last.incarnation)
            self._log.create(now_ms=now_ms, facts=living, first_sequence=first_sequence)
            for lines in pages:
                self._append(lines, None, now_ms)
            return self._log.close_with(living, now_ms=now_ms) if closes else self._log.existing_head()

        self._check_free()
        return self._log.atomically(write)

    def add(self, lines: str, *, now_ms: int) -> None:
        """Store messages of nobody in particular; part of making a stream."""
        self._append(lines, None, now_ms)

    def check_unused(self) -> None:
        """A fork keeps its source's numbers, so its path must be one that has never given out numbers.

        Raises:
            Refusal: 409.
        """
        self._check_free()
        last = self._log.last_known()
        if last is not None and last.last_sequence > 0:
            raise Refusal(409, "path_used", "a deleted stream has used this path's offsets; fork to a path of its own")

    def append(self, append: Append, *, now_ms: int) -> Accepted:
        """Store a request's messages, and close the stream where it says so; a repeated request stores nothing.

        Raises:
            Refusal: 404, 410; 409, closed, another content type, a gap in a producer's numbers, a `Stream-Seq` that does
                not rise; 403, a producer of an epoch that is over; 413.
            InvalidArgumentError: a new epoch that does not begin at 0, or a body that is not what its type says.
        """
        head = self.existing()
        if head.is_closed:
            return self._on_closed(head, append)
        if head.status != "active":
            raise Refusal(409, "stream_paused", "the stream is paused and takes nothing now")
        facts = facts_of(head)
        if append.content_type is not None and media_type(append.content_type) != media_type(facts.content_type):
            raise Refusal(409, "content_type_mismatch", f"the stream holds {facts.content_type}")
        producer = append.producer
        if producer is not None:
            newest = self._producers.check(facts, producer)
            if newest is not None:
                return Accepted(head=head, is_repetition=True, producer=producer, producer_seq=newest)
        if append.seq is not None and facts.last_seq is not None and append.seq.encode() <= facts.last_seq.encode():
            raise Refusal(409, "sequence_regression", f"Stream-Seq must be above {facts.last_seq!r}")
        lines = encode_body(facts, append.body)
        if append.body and not lines:
            raise _nothing()
        return self._log.atomically(lambda: self._commit(facts, append, lines, now_ms))

    def touch(self, *, now_ms: int) -> None:
        """Somebody reads: the time to live begins anew."""
        self._log.touch(now_ms=now_ms)

    def position(self, position: Position) -> int:
        """The sequence that a reader at this position has.

        Raises:
            Refusal: 404, 410; 400, past the end.
        """
        head = self.existing()
        if position == "now":
            return head.last_sequence
        if position == "start" or position == 0:  # noqa: PLR1714 - so that the types follow
            return head.first_sequence - 1
        if position > head.last_sequence:
            raise Refusal(400, "invalid_offset", f"the offset is past the end, {offset_of(head.last_sequence)}")
        return position

    def read(self, sequence: int, *, max_bytes: int) -> Page:
        """What follows, whole messages. Raises as `StreamLog.read` does."""
        return self._log.read(sequence, max_bytes=max_bytes)

    def delete(self, *, commit: Commit, now_ms: int) -> str | None:
        """Delete it; the stream whose fork it was, where nothing holds on to this one.

        Raises:
            Refusal: 404, 410.
        """
        self.existing()
        self._log.delete(commit=commit, now_ms=now_ms)
        return self._released()

    def add_fork(self, fork_id: str) -> None:
        """Note a fork; a second time does nothing."""
        facts = facts_of(self.existing())
        if fork_id not in facts.forks:
            self._log.change_facts(replace(facts, forks=(*facts.forks, fork_id)))

    def release_fork(self, fork_id: str) -> str | None:
        """Forget a fork; the stream whose fork this one was, where this was deleted and had only been held by that."""
        last = self._log.last_known()
        if last is None or last.facts is None or fork_id not in last.facts.forks:
            return None
        left = tuple(each for each in last.facts.forks if each != fork_id)
        self._log.change_facts(replace(last.facts, forks=left))
        return None if self._log.head() is not None else self._released()

    def source_id(self) -> str | None:
        """The stream that it was forked from, while that has to keep its path for it."""
        last = self._log.last_known()
        if last is None or last.facts is None or last.facts.source is None:
            return None
        return last.facts.source.stream_id if not last.is_deleted or last.facts.forks else None

    def _released(self) -> str | None:
        last = self._log.last_known()
        facts = None if last is None else last.facts
        return None if facts is None or facts.forks or facts.source is None else facts.source.stream_id

    def _check_free(self) -> None:
        if self.is_soft_deleted():
            raise Refusal(409, "stream_gone", "a deleted stream had this path, and forks of it are still there")

    def _on_closed(self, head: StreamHead, append: Append) -> Accepted:
        producer = append.producer
        if producer is not None and facts_of(head).closed_by == (producer.id, producer.epoch, producer.seq):
            return Accepted(head=head, is_repetition=True, producer=producer, producer_seq=producer.seq)
        if append.closes and not append.body and producer is None:
            return Accepted(head=head, is_repetition=True)
        headers = {"stream-closed": "true", "stream-next-offset": offset_of(head.last_sequence)}
        raise Refusal(409, "stream_closed", "the stream is closed and takes nothing more", headers)

    def _commit(self, facts: ProtocolState, append: Append, lines: str, now_ms: int) -> Accepted:
        producer = append.producer
        appended = self._append(lines, self._producers.key(facts, producer), now_ms) if lines else None
        after = facts if append.seq is None else replace(facts, last_seq=append.seq)
        if append.closes:
            closer = None if producer is None else (producer.id, producer.epoch, producer.seq)
            self._log.close_with(replace(after, closed_by=closer), now_ms=now_ms)
        elif after is not facts:
            self._log.change_facts(after)
        self._producers.took(facts, producer if lines else None)
        return Accepted(
            head=self._log.existing_head(),
            appended=appended,
            lines=lines,
            producer=producer,
            producer_seq=None if producer is None else producer.seq,
        )

    def _append(self, lines: str, writer: tuple[str, int] | None, now_ms: int) -> Appended:
        name, number = writer or (ANONYMOUS, self._log.existing_head().last_sequence + 1)
        return self._log.append(lines, writer=name, writer_sequence=number, now_ms=now_ms)


def facts_of(head: StreamHead) -> ProtocolState:
    """What the protocol knows of a stream; the native side's are streams of JSON."""
    return head.facts or NATIVE


def new_facts(creation: Creation, now_ms: int, source: ForkSource | None = None) -> ProtocolState:
    """Those of a stream that is made now."""
    return ProtocolState(
        content_type=creation.content_type or DEFAULT_TYPE,
        ttl_s=creation.ttl_s,
        expires_at=creation.expires_at,
        touched_ms=now_ms,
        written_touch_ms=now_ms,
        source=source,
    )


def _check_alike(head: StreamHead, creation: Creation) -> None:
    """The stream there is what was asked for.

    Raises:
        Refusal: 409.
    """
    facts = facts_of(head)
    is_alike = (
        media_type(creation.content_type or DEFAULT_TYPE) == media_type(facts.content_type)
        and creation.is_closed == head.is_closed
        and creation.ttl_s == facts.ttl_s
        and creation.expires_at == facts.expires_at
        and facts.source is None
    )
    if not is_alike:
        raise Refusal(409, "stream_exists", "there is a stream here, made with other options")


def _nothing() -> Refusal:
    return Refusal(400, "empty_array", "an empty array holds no message; send at least one")
