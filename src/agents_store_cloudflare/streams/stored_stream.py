"""One stream in its rows and in memory: its head, its blocks, and the chunks that are shown and not yet stored.

Memory holds the facts that every append needs: last sequence, status, fence, and the writers' newest flushes. They are read from
the rows when the object starts anew. A change happens completely or not at all, in the rows and in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, TypeVar, cast

from agents_store_cloudflare.contract.errors import InvalidArgumentError, StaleFencingTokenError, StreamNotFoundError
from agents_store_cloudflare.database import ObjectSql
from agents_store_cloudflare.streams import lifecycle
from agents_store_cloudflare.streams.commits import Commit, is_repeated, with_commit
from agents_store_cloudflare.streams.flushes import KnownFlushes
from agents_store_cloudflare.streams.head import StreamHead
from agents_store_cloudflare.streams.rows import StreamRows
from agents_store_cloudflare.streams.tail import Flush, Tail

__all__ = ["CEILING_STEP", "StoredStream"]

T = TypeVar("T")

CEILING_STEP: Final = 1_000
"""How many sequences one written ceiling allows the log to show before they are stored."""


class StoredStream:
    """The head, the blocks and the tail of one stream. `StreamLog` has the rules of the changes."""

    def __init__(self, sql: ObjectSql, stream_id: str) -> None:
        self._rows = StreamRows(sql, stream_id)
        self.stream_id: str = stream_id
        self._head: StreamHead | None = None
        self._flushes: KnownFlushes | None = None
        self._tail = Tail()
        self._has_lost_numbers = False

    def head(self) -> StreamHead | None:
        """Return the stream's head; None if there is no stream.

        Raises:
            MigrationError: newer code has written this stream.
        """
        if self._head is None:
            self._head = self._load()
        return None if self._head is None or self._head.is_deleted else self._head

    def existing_head(self) -> StreamHead:
        """Return the stream's head.

        Raises:
            StreamNotFoundError: there is no stream.
        """
        head = self.head()
        if head is None:
            raise StreamNotFoundError(self.stream_id)
        return head

    def last_known(self) -> StreamHead | None:
        """Return the head, also of a deleted stream; None if the stream never existed."""
        self.head()
        return self._head

    def is_repeated(self, commit: Commit | None) -> bool:
        """Return whether this request was committed before, whatever others have done since.

        Raises:
            InvalidArgumentError: another request has used its commit id.
        """
        head = self.last_known()
        return head is not None and is_repeated(self.stream_id, head.commits, commit)

    def has_held(self) -> bool:
        """Return whether a crash now would lose chunks or sequences."""
        return bool(self._tail) or (self._head is not None and self._head.ceiling is not None)

    def store_held(self, *, now_ms: int) -> bool:
        """Store the chunks in memory. Return False if there are none: then the ceiling is removed, so that a crash loses no sequence."""
        head = self.head()
        if head is None or not self.has_held():
            return False
        if self._tail:
            self._store(head, self._retained(head), self._tail.flushes(), now_ms)
            return True
        self._store(head, replace(head, ceiling=None), (), now_ms)
        return False

    def atomically(self, body: Callable[[], T]) -> T:
        """Run several changes as one. If one fails, all of them are undone, in the rows and in memory."""
        before, held, has_lost_numbers = self._head, self._tail.flushes(), self._has_lost_numbers
        try:
            return self._rows.transaction(body)
        except BaseException:
            self._head, self._flushes, self._has_lost_numbers = before, None, has_lost_numbers
            self._tail.clear()
            for flush in held:
                self._tail.add(flush)
            raise

    def _load(self) -> StreamHead | None:
        loaded = self._rows.load()
        if loaded is None:
            return None
        self._has_lost_numbers = loaded.has_gaps and loaded.ceiling is not None
        return loaded

    def _change(self, wanted: StreamHead, fencing_token: int | None, now_ms: int, commit: Commit | None) -> StreamHead:
        """Store a new head with its fencing token, its commit and its alarm, and the tail.

        A new life of the stream drops the tail and the blocks. If the head does not change, no row is written, and the commit is
        kept in memory only.
        """
        before = cast("StreamHead", self._head)
        fenced = replace(
            wanted,
            fencing_token=self._checked_fence(before, fencing_token),
            commits=with_commit(before.commits, commit),
        )
        if fenced == before:
            self._head = fenced
            return fenced
        after = lifecycle.planned(replace(fenced, ceiling=None), now_ms)
        if after.incarnation == before.incarnation:
            self._store(before, after, self._tail.flushes(), now_ms)
        else:
            self._rows.empty(after)
            self._settle(after)
        return after

    def _store(self, before: StreamHead, after: StreamHead, flushes: Sequence[Flush], now_ms: int) -> None:
        """Store the tail and these flushes as blocks. Store the head unless the blocks imply it."""
        if self._is_said_by_blocks(before, after, flushes):
            self._rows.write(flushes=flushes, now_ms=now_ms)
            self._head = after
            return
        if self._has_lost_numbers:
            after = replace(after, ceiling=None)
        if flushes:
            after = replace(after, updated_at=max(after.updated_at, now_ms))
        said_by_blocks = replace(before, last_sequence=after.last_sequence, updated_at=after.updated_at)
        self._rows.write(
            head=after if self._has_lost_numbers or after != said_by_blocks else None,
            flushes=flushes,
            first_kept=after.first_sequence if after.first_sequence > before.first_sequence else None,
            now_ms=now_ms,
        )
        self._settle(after)

    def _is_said_by_blocks(self, before: StreamHead, after: StreamHead, flushes: Sequence[Flush]) -> bool:
        """Return whether this is a plain append, which needs no new head.

        A comparison of whole heads would cost more time than writing the head's row.
        """
        return (
            len(flushes) == 1
            and not self._tail
            and not self._has_lost_numbers
            and after.fencing_token == before.fencing_token
            and after.first_sequence == before.first_sequence
            and after.status == before.status
            and after.incarnation == before.incarnation
            and after.ceiling == before.ceiling
            and after.closed_turns == before.closed_turns
        )

    def _settle(self, head: StreamHead) -> None:
        """Take note that the rows hold `head`, and that no chunk is only in memory."""
        before = self._head
        if self._flushes is not None and before is not None and before.first_sequence < head.first_sequence:
            self._flushes.forget(head.first_sequence, head.forgotten_flushes)
        self._head, self._has_lost_numbers = head, False
        self._tail.clear()

    def _hold(self, before: StreamHead, grown: StreamHead, flush: Flush) -> None:
        """Keep a flush in memory, so that readers see it before it is stored. The ceiling is stored first."""
        if grown.last_sequence > (before.ceiling or 0) or grown.fencing_token != before.fencing_token:
            grown = replace(grown, ceiling=grown.last_sequence + CEILING_STEP)
            self._rows.write(head=grown)
            self._has_lost_numbers = False
        self._head = grown
        self._tail.add(flush)

    def _retained(self, head: StreamHead) -> StreamHead:
        """Return the head with the floor that `max_chunks` asks for. The floor moves in steps, because each step writes a row."""
        most = head.retention.max_chunks
        if most is None or head.last_sequence - head.first_sequence + 1 <= most + most // 4:
            return head
        return lifecycle.truncate(head, head.last_sequence - most + 1, self._known_flushes().newest())

    def _known_flushes(self) -> KnownFlushes:
        if self._flushes is None:
            self._flushes = self._rows.known_flushes(cast("StreamHead", self.last_known()))
        return self._flushes

    def _repeated_flush(self, writer: str, number: int) -> int | None:
        """Return the last sequence of a repeated flush, even if the stream was deleted since; None for a new flush."""
        head = self.last_known()
        if head is None or (head.is_deleted and writer not in self._known_flushes().newest()):
            return None
        return self._known_flushes().result_of(writer, number)

    def _keep_token(self, token: int | None, now_ms: int) -> None:
        """Keep the token of a repetition if it is the highest seen, also on a deleted stream. An older one gets its answer all the same."""
        head = cast("StreamHead", self.last_known())
        if token is not None and token > (head.fencing_token or 0):
            self._change(head, token, now_ms, None)

    def _checked_fence(self, head: StreamHead, token: int | None) -> int | None:
        """Return the highest fencing token seen, `token` included.

        Raises:
            StaleFencingTokenError: a higher token was seen before. InvalidArgumentError: the token is no whole number.
        """
        if token is not None and type(token) is not int:
            raise InvalidArgumentError(
                "the fencing token must be a whole number"
            )  # stored, it would close the stream for ever
        if token is None or head.fencing_token is None:
            return head.fencing_token if token is None else token
        if token < head.fencing_token:
            raise StaleFencingTokenError(self.stream_id, expected=head.fencing_token, actual=token)
        return token
