"""The core of a stream: a synchronous, durable, append-only log with one outcome, on the SQLite of one Durable Object.

The log knows no HTTP and no listeners; its callers pass the time. A plain append writes one row and reads none, because the
head of the stream is in memory (`stored_stream.py`). `lifecycle.py` has the rules of all other changes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import cast

from agents_store_cloudflare.contract.errors import InvalidArgumentError, SequenceConflictError
from agents_store_cloudflare.contract.streams.records import StreamMark
from agents_store_cloudflare.streams import lifecycle
from agents_store_cloudflare.streams.blocks import MAX_BLOCK_BYTES, split_blocks
from agents_store_cloudflare.streams.commits import Commit, with_commit
from agents_store_cloudflare.streams.copying import CopyableStream
from agents_store_cloudflare.streams.head import KEEP_EVERYTHING, Retention, StreamHead
from agents_store_cloudflare.streams.protocol_state import ProtocolState
from agents_store_cloudflare.streams.readable_stream import Page
from agents_store_cloudflare.streams.stored_stream import CEILING_STEP
from agents_store_cloudflare.streams.tail import Flush
from agents_store_cloudflare.streams.turn_closings import (
    CLOSING_NUMBER,
    TurnClosing,
    is_settled_without_a_chunk,
    with_closed,
)

__all__ = ["CEILING_STEP", "Appended", "Page", "StreamLog"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """The result of an append. A repeated append stores nothing and has the `last_sequence` of the first one."""

    first_sequence: int
    last_sequence: int
    is_repetition: bool = False


class StreamLog(CopyableStream):
    """The chunks of one stream, numbered 1, 2, 3 …, each stored once, in the order of their arrival, until the stream ends or
    fails.

    Only `create` makes the table: any other call on a stream that was never created writes nothing. Every change happens
    whole or not at all, in the rows and in memory.
    """

    def create(
        self,
        *,
        now_ms: int,
        fencing_token: int | None = None,
        retention: Retention = KEEP_EVERYTHING,
        facts: ProtocolState | None = None,
        first_sequence: int = 1,
        commit: Commit | None = None,
    ) -> StreamHead:
        """Make the stream if it does not exist, and keep the fencing token if it is the highest.

        Args:
            retention, facts: the values of a new stream. An existing stream keeps its own.
            first_sequence: the first number, if this id has used no number yet.
            commit: names the request. A repetition changes nothing, also after somebody has deleted the stream.

        Raises:
            StaleFencingTokenError: a higher token has been seen.
        """
        floor = self.last_known()
        if floor is None:
            fresh = replace(
                lifecycle.begin(retention, fencing_token, now_ms), facts=facts, commits=with_commit({}, commit)
            )
            begun = lifecycle.planned(_from(fresh, first_sequence), now_ms)
            self._rows.create(begun)
            self._head = begun
            return begun
        if self.is_repeated(commit):
            self._keep_token(fencing_token, now_ms)
            return floor
        if not floor.is_deleted:
            return self._change(floor, fencing_token, now_ms, commit)
        revived = lifecycle.revive(replace(floor, retention=retention, facts=facts), now_ms)
        return self._change(_from(revived, first_sequence), fencing_token, now_ms, commit)

    def append(
        self,
        body: str,
        *,
        writer: str,
        writer_sequence: int,
        now_ms: int,
        expected_sequence: int | None = None,
        fencing_token: int | None = None,
        is_held: bool = False,
        closing: TurnClosing | None = None,
    ) -> Appended:
        """Store the chunks of `body` (JSON texts joined by newlines), all or none. A repeated flush stores nothing.

        Args:
            writer, writer_sequence: name the flush. A writer's numbers rise. A repeated number gives the first result.
            expected_sequence: the sequence that the first chunk must get.
            is_held: show the chunks now, and store them with the next `store_held` or any other change.
            closing: the turn that the chunk closes. Such a chunk is stored in a paused stream too.

        Raises:
            StreamNotFoundError, StaleFencingTokenError, StreamClosedError, SequenceConflictError,
            StreamChunkTooLargeError.
            InvalidArgumentError: there are no chunks, or the same writer has stored a later flush.
        """
        repeated = self._repeated_flush(writer, writer_sequence)
        if repeated is not None:
            if not is_held:
                self.store_held(now_ms=now_ms)
            self._keep_token(fencing_token, now_ms)
            return Appended(first_sequence=repeated, last_sequence=repeated, is_repetition=True)
        head = self.existing_head()
        fence = self._checked_fence(head, fencing_token)
        if head.status != "active" and (closing is None or head.is_closed):
            raise lifecycle.closed_error(self.stream_id, head)
        first_sequence = head.last_sequence + 1
        if expected_sequence is not None and expected_sequence != first_sequence:
            raise SequenceConflictError(self.stream_id, expected=expected_sequence, actual=first_sequence)
        if not body:
            raise InvalidArgumentError("an append needs at least one chunk")
        sizes = [(block.count, block.size_bytes) for block in split_blocks(self.stream_id, body)]
        flush = Flush(
            first_sequence=first_sequence,
            count=sum(count for count, _ in sizes),
            size_bytes=sum(size_bytes for _, size_bytes in sizes),
            body=body,
            writer=writer,
            number=writer_sequence,
        )
        grown = replace(head, last_sequence=flush.last_sequence, updated_at=now_ms, fencing_token=fence)
        if closing is not None:
            grown = replace(
                grown,
                closed_turns=with_closed(head.closed_turns, closing, flush.last_sequence),
                status="paused" if closing.pauses else head.status,
            )
        if is_held and self._tail.size_bytes + flush.size_bytes < MAX_BLOCK_BYTES:
            self._hold(head, grown, flush)
        else:
            self._store(head, self._retained(grown), [*self._tail.flushes(), flush], now_ms)
        self._known_flushes().note(writer, writer_sequence, flush.last_sequence)
        return Appended(first_sequence=first_sequence, last_sequence=flush.last_sequence)

    def sequence_after(self, writer: str, writer_sequence: int, count: int) -> int:
        """Return the last sequence of a flush of `count` chunks. The flush may be stored already, or be about to be stored."""
        with suppress(InvalidArgumentError):  # the append itself will be refused
            repeated = self._repeated_flush(writer, writer_sequence)
            if repeated is not None:
                return repeated
        head = self.head()
        return count if head is None else head.last_sequence + count

    def close_turn(self, chunk: str, closing: TurnClosing, *, now_ms: int) -> Appended | None:
        """Store the chunk that closes a turn, once. Return None if the stream has begun anew, or has its outcome."""
        head = self.head()
        flush = None if head is None else self._known_flushes().newest().get(closing.writer)
        is_repeated = flush is not None and flush[0] == CLOSING_NUMBER
        last_written = None if flush is None else flush[1]
        if not is_repeated and is_settled_without_a_chunk(head, closing, last_written):
            return None
        return self.append(
            chunk,
            writer=closing.writer,
            writer_sequence=CLOSING_NUMBER,
            now_ms=now_ms,
            closing=closing,
        )

    def end(
        self, *, status: str, output: str, now_ms: int, fencing_token: int | None = None, commit: Commit | None = None
    ) -> bool:
        """End the stream with a status and an output (JSON text). Return False if it has ended with the same ones before.

        This call and the calls below return False and change nothing if their `commit` was used before, whatever others have done
        since. A call that changes nothing else, and a repetition, still keep a higher token.

        Raises:
            StreamClosedError: the stream has another outcome; the error names it.
            StreamNotFoundError, StaleFencingTokenError.
        """

        def ended(head: StreamHead) -> StreamHead:
            return lifecycle.close(self.stream_id, head, "ended", now_ms, end_status=status, output=output)

        return self._changes(ended, now_ms, fencing_token, commit)

    def fail(self, *, error: str, now_ms: int, fencing_token: int | None = None, commit: Commit | None = None) -> bool:
        """Fail the stream with a text. Return False if it has failed with the same text before. It raises the errors of `end`."""

        def failed(head: StreamHead) -> StreamHead:
            return lifecycle.close(self.stream_id, head, "failed", now_ms, error=error)

        return self._changes(failed, now_ms, fencing_token, commit)

    def pause(self, *, now_ms: int, fencing_token: int | None = None, commit: Commit | None = None) -> bool:
        """Take no chunks until `resume`. Return False if the stream was paused already. It raises the errors of `end`."""
        return self._changes(lambda head: lifecycle.pause(self.stream_id, head, now_ms), now_ms, fencing_token, commit)

    def resume(self, *, now_ms: int, fencing_token: int | None = None, commit: Commit | None = None) -> bool:
        """Take chunks again. Return False if the stream was not paused. It raises the errors of `end`."""
        return self._changes(lambda head: lifecycle.resume(self.stream_id, head, now_ms), now_ms, fencing_token, commit)

    def reset(self, *, now_ms: int, fencing_token: int | None = None, commit: Commit | None = None) -> bool:
        """Drop all chunks and the outcome; the numbers go on.

        Raises:
            StreamNotFoundError, StaleFencingTokenError.
        """
        return self._changes(
            lambda head: lifecycle.reset(head, self._known_flushes().newest(), now_ms), now_ms, fencing_token, commit
        )

    def truncate(
        self, *, first_sequence: int, now_ms: int, fencing_token: int | None = None, commit: Commit | None = None
    ) -> bool:
        """Drop the chunks before `first_sequence`. Return False if they were gone already. It raises the errors of `reset`."""
        return self._changes(
            lambda head: lifecycle.truncate(head, first_sequence, self._known_flushes().newest()),
            now_ms,
            fencing_token,
            commit,
        )

    def delete(self, *, now_ms: int, fencing_token: int | None = None, commit: Commit | None = None) -> bool:
        """Delete everything except the numbering, the fence and the commits. It raises the errors of `reset`."""
        return self._changes(
            lambda head: lifecycle.delete(head, self._known_flushes().newest(), now_ms), now_ms, fencing_token, commit
        )

    def mark(self, *, now_ms: int, fencing_token: int | None = None) -> StreamMark:
        """Return a mark of the stream's present state, and keep a higher fencing token.

        Raises:
            StreamNotFoundError, StaleFencingTokenError.
        """
        head = self._change(self.existing_head(), fencing_token, now_ms, None)
        return StreamMark(head.incarnation, head.last_sequence, head.fencing_token)

    def delete_marked(self, mark: StreamMark, *, now_ms: int, commit: Commit | None = None) -> StreamMark | None:
        """Delete the stream if it has not changed since it was marked. Return None when it is deleted, now or before.

        If it has changed, nothing happens, and the call returns the present mark. A repetition after a deletion returns None,
        whatever others have done since.
        """
        if self.head() is None or self.is_repeated(commit):
            return None
        now = self.mark(now_ms=now_ms)
        if now == mark:
            self.delete(now_ms=now_ms, commit=commit)
            return None
        return now

    def reset_fence(self, *, commit: Commit | None = None) -> bool:
        """Forget the highest fencing token, also of a deleted stream. Return False if there was none."""
        head = self.last_known()
        if head is None or head.fencing_token is None or self.is_repeated(commit):
            return False
        after = replace(head, fencing_token=None, commits=with_commit(head.commits, commit))
        self._rows.write(head=after)
        self._head = after
        return True

    def expire(self, *, now_ms: int) -> bool:
        """Delete the stream if its retention has run out. Return whether it was deleted."""
        head = self.head()
        if head is None or head.due_ms is None or now_ms < head.due_ms:
            return False
        return self.delete(now_ms=now_ms)

    def change_facts(self, facts: ProtocolState) -> None:
        """Store the protocol's state of the stream, also of a deleted one."""
        before = cast("StreamHead", self.last_known())
        self._rows.write(head=replace(before, facts=facts))
        self._head = replace(before, facts=facts)

    def close_with(self, facts: ProtocolState, *, now_ms: int) -> StreamHead:
        """End the stream as completed, without an output, and store the protocol's state with it. It raises the errors of `end`."""
        head = self.existing_head()
        closed = lifecycle.close(self.stream_id, head, "ended", now_ms, end_status="completed", output="null")
        return self._change(replace(closed, facts=facts), None, now_ms, None)

    def touch(self, *, now_ms: int) -> None:
        """Note the time of a read, if reads prolong the stream's life. Only some of these times are stored, to save rows."""
        head = self.head()
        if head is None or head.facts is None:
            return
        touched = head.facts.touched(now_ms)
        if touched.written_touch_ms != head.facts.written_touch_ms:
            self.change_facts(touched)
        elif touched is not head.facts:
            self._head = replace(head, facts=touched)

    def _changes(
        self,
        rule: Callable[[StreamHead], StreamHead],
        now_ms: int,
        fencing_token: int | None,
        commit: Commit | None,
    ) -> bool:
        """Apply a rule of `lifecycle` to the head. Return False if the request is a repetition, or if it changes nothing."""
        if self.is_repeated(commit):
            self._keep_token(fencing_token, now_ms)
            return False
        head = self.existing_head()
        self._checked_fence(head, fencing_token)  # a stale token is reported before any other error
        wanted = rule(head)
        self._change(wanted, fencing_token, now_ms, commit)
        return wanted is not head


def _from(head: StreamHead, first_sequence: int) -> StreamHead:
    """Return the head with numbers that begin at `first_sequence`, or the same head if the stream has used numbers."""
    if head.last_sequence:
        return head
    return replace(head, first_sequence=first_sequence, last_sequence=first_sequence - 1)
