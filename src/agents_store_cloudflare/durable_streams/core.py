"""The rules of the protocol for one stream. They are synchronous, use the stream's log, and get the time as an argument.

An append writes one row, also for an idempotent producer: the block itself holds the producer's id, epoch and number (`writer`,
`writer_sequence`). So the messages and the name of their request are stored together or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from agents_store_cloudflare.contract.errors import StreamNotFoundError
from agents_store_cloudflare.contract.json_values import JsonObject
from agents_store_cloudflare.database import ObjectSql
from agents_store_cloudflare.durable_streams.messages import body_parts
from agents_store_cloudflare.durable_streams.offsets import Position
from agents_store_cloudflare.durable_streams.producers import Producers
from agents_store_cloudflare.durable_streams.refusals import Refusal
from agents_store_cloudflare.durable_streams.requests import Append, Creation, Producer
from agents_store_cloudflare.durable_streams.stream_facts import check_alike, facts_of, life_of, new_facts, offset_in
from agents_store_cloudflare.durable_streams.stream_path import StreamPath
from agents_store_cloudflare.streams.commits import Commit
from agents_store_cloudflare.streams.head import StreamHead
from agents_store_cloudflare.streams.log import Appended, Page, StreamLog
from agents_store_cloudflare.streams.protocol_state import ProtocolState, media_type

__all__ = ["ANONYMOUS", "Accepted", "ProtocolLog"]

ANONYMOUS: Final = "http"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The outcome of an append.

    Attributes:
        stored_after: the last sequence before the stored messages; None for a repetition, or for a closure without messages.
        lines: the stored messages if they are one part, otherwise None.
        producer_seq: the highest number of the producer in its epoch.
    """

    head: StreamHead
    stored_after: int | None = None
    lines: str | None = None
    is_repetition: bool = False
    producer: Producer | None = None
    producer_seq: int | None = None


class ProtocolLog:
    """One stream's log under the protocol's rules. Each call has its whole effect or none.

    Attributes:
        path: the holders of the stream's path.
    """

    def __init__(self, log: StreamLog, sql: ObjectSql) -> None:
        self._log = log
        self._producers = Producers(log)
        self.path: StreamPath = StreamPath(log, sql)

    def head(self) -> StreamHead | None:
        """Return the stream's head; None if there is no stream."""
        return self._log.head()

    def life(self) -> JsonObject:
        """Return the life of the stream at this path, or of its next stream: its number, and the last sequence before it."""
        last = self._log.last_known()
        return {"life": 0, "begun": 0} if last is None else {"life": life_of(last), "begun": last.begun_after}

    def existing(self) -> StreamHead:
        """Return the stream's head.

        Raises:
            Refusal: 404, there is no stream; 410, it was deleted and its forks still hold its path.
        """
        head = self._log.head()
        if head is not None:
            return head
        if self.path.is_soft_deleted():
            raise Refusal(410, "stream_gone", "the stream was deleted; forks of it are still there")
        raise Refusal(404, "stream_not_found", "there is no such stream; create it with PUT")

    def create(self, creation: Creation, *, now_ms: int) -> tuple[StreamHead, bool]:
        """Make the stream and its first messages in one transaction. Return the stream's head, and whether it is new.

        Raises:
            Refusal: 409, there is another stream here; 413, the body is too large.
            InvalidArgumentError: the content type does not allow the body.
        """
        head = self._log.head()
        if head is not None:
            check_alike(head, creation)
            return head, False
        self.path.check_free()
        facts = self._living(new_facts(creation, now_ms))

        def write() -> StreamHead:
            self._log.create(now_ms=now_ms, facts=facts)
            for lines in body_parts(facts, creation.body):
                self._append(lines, None, now_ms)
            self.path.incoming.drop()
            closes = creation.is_closed
            return self._log.close_with(facts, now_ms=now_ms) if closes else self._log.existing_head()

        return self._log.atomically(write), True

    def append(self, append: Append, *, now_ms: int) -> Accepted:
        """Store a request's messages, and close the stream if the request says so. A repeated request stores nothing.

        Raises:
            Refusal: 404, 410; 409, closed, another content type, a gap in a producer's numbers, a `Stream-Seq` that does
                not rise; 403, a producer of an epoch that is over; 413.
            InvalidArgumentError: a new epoch that does not begin at 0, or a body that its content type does not allow.
        """
        head = self.existing()
        if head.is_closed:
            return self._on_closed(head, append)
        facts = facts_of(head)
        if head.status != "active" and (
            append.producer is None or self._producers.taken(facts, append.producer) is None
        ):
            raise Refusal(409, "stream_paused", "the stream is paused and takes no messages now")
        if append.content_type is not None and media_type(append.content_type) != media_type(facts.content_type):
            raise Refusal(409, "content_type_mismatch", f"the stream holds {facts.content_type}")
        producer = append.producer
        if producer is not None:
            newest = self._producers.check(facts, producer)
            if newest is not None:
                return Accepted(head=head, is_repetition=True, producer=producer, producer_seq=newest)
        if append.seq is not None and facts.last_seq is not None and append.seq.encode() <= facts.last_seq.encode():
            raise Refusal(409, "sequence_regression", f"Stream-Seq must be above {facts.last_seq!r}")
        return self._log.atomically(lambda: self._commit(facts, append, now_ms))

    def touch(self, *, now_ms: int) -> None:
        """Note a read: the time to live begins anew."""
        self._log.touch(now_ms=now_ms)

    def position(self, position: Position) -> int:
        """Return the last sequence that a reader at this position has.

        Raises:
            Refusal: 404; 410, it was deleted, or the position belongs to an earlier life; 400, the position is past the end.
        """
        head = self.existing()
        if position == "now":
            return head.last_sequence
        if position == "start" or position.sequence == 0:
            return head.first_sequence - 1
        if position.sequence > head.last_sequence:
            raise Refusal(400, "invalid_offset", f"the offset is past the end, {offset_in(head, head.last_sequence)}")
        is_start = position.is_start and position.sequence == head.begun_after
        if head.is_of_earlier_life(position.sequence) and not is_start:
            message = "the offset is of an earlier stream at this path, which was reset or deleted; read from -1"
            raise Refusal(410, "stream_truncated", message)
        if position.is_start and position.sequence not in (head.begun_after, head.first_sequence - 1):
            raise Refusal(400, "invalid_offset", "no stream at this path began at this offset")
        return position.sequence

    def read(self, sequence: int, *, max_bytes: int) -> Page:
        """Return whole messages after a sequence. It raises the errors of `StreamLog.read`."""
        return self._log.read(sequence, max_bytes=max_bytes)

    def delete(self, *, commit: Commit, now_ms: int) -> str | None:
        """Delete the stream. A repetition changes nothing and returns the first result.

        Returns:
            The source of the stream, which must hear of the deletion. None if there is no source, or if forks hold this stream.

        Raises:
            Refusal: 404, 410.
        """
        try:
            self._log.delete(commit=commit, now_ms=now_ms)
        except StreamNotFoundError:
            self.existing()
            raise
        self.path.incoming.drop()
        return self.path.held_source()

    def make_fork(
        self, facts: ProtocolState, creation: Creation, *, pages: int, last: str, first_sequence: int, now_ms: int
    ) -> StreamHead:
        """Make the stream from the received pages, the last page and the request's own body, in one transaction.

        Raises:
            Refusal: 409, the path is taken.
            StreamConnectionError: another attempt came in between; the request may be sent again.
        """
        self.path.check_unused()
        token = "" if facts.source is None else facts.source.token

        def write() -> StreamHead:
            self._log.create(now_ms=now_ms, facts=self._living(facts), first_sequence=first_sequence)
            for lines in self.path.incoming.stored(token, pages) if pages else ():
                self._append(lines, None, now_ms)
            for lines in (last, *body_parts(facts, creation.body)):
                if lines:
                    self._append(lines, None, now_ms)
            self.path.incoming.drop()
            head = self._log.existing_head()
            return self._log.close_with(facts_of(head), now_ms=now_ms) if creation.is_closed else head

        return self._log.atomically(write)

    def _living(self, facts: ProtocolState) -> ProtocolState:
        """Return the facts with the incarnation of this life of the path."""
        last = self._log.last_known()
        return replace(facts, life="" if last is None else last.incarnation)

    def _on_closed(self, head: StreamHead, append: Append) -> Accepted:
        producer = append.producer
        if producer is not None:
            facts = facts_of(head)
            if facts.closed_by == (producer.id, producer.epoch, producer.seq):
                return Accepted(head=head, is_repetition=True, producer=producer, producer_seq=producer.seq)
            newest = self._producers.taken(facts, producer)
            if newest is not None:
                return Accepted(head=head, is_repetition=True, producer=producer, producer_seq=newest)
        if append.closes and not append.body and producer is None:
            return Accepted(head=head, is_repetition=True)
        headers = {"stream-closed": "true", "stream-next-offset": offset_in(head, head.last_sequence)}
        raise Refusal(409, "stream_closed", "the stream is closed and takes no more messages", headers)

    def _commit(self, facts: ProtocolState, append: Append, now_ms: int) -> Accepted:
        producer = append.producer
        before = self._log.existing_head().last_sequence
        only = self._append_parts(body_parts(facts, append.body), self._producers.key(facts, producer), now_ms)
        if append.body and self._log.existing_head().last_sequence == before:
            raise _nothing()
        after = facts if append.seq is None else replace(facts, last_seq=append.seq)
        if append.closes:
            closer = None if producer is None else (producer.id, producer.epoch, producer.seq)
            self._log.close_with(replace(after, closed_by=closer), now_ms=now_ms)
        elif after is not facts:
            self._log.change_facts(after)
        self._producers.took(facts, producer if append.body else None)
        return Accepted(
            head=self._log.existing_head(),
            stored_after=before if append.body else None,
            lines=only,
            producer=producer,
            producer_seq=None if producer is None else producer.seq,
        )

    def _append_parts(self, parts: Iterator[str], writer: tuple[str, int] | None, now_ms: int) -> str | None:
        """Store the parts of a body in order. The last part has the name of the request.

        Returns:
            The part if it is the only one, otherwise None.
        """
        held, count = "", 0
        for part in parts:
            if held:
                self._append(held, None, now_ms)
            held, count = part, count + 1
        if held:
            self._append(held, writer, now_ms)
        return held if count == 1 else None

    def _append(self, lines: str, writer: tuple[str, int] | None, now_ms: int) -> Appended:
        name, number = writer or (ANONYMOUS, self._log.existing_head().last_sequence + 1)
        return self._log.append(lines, writer=name, writer_sequence=number, now_ms=now_ms)


def _nothing() -> Refusal:
    return Refusal(400, "empty_array", "an empty array holds no message; send at least one")
