"""The core of a stream: a synchronous, durable, append-only log with one outcome, on the SQLite of one Durable Object.

It knows no HTTP, no readers, no clock. What is asked after every append (last sequence, status, fence, who wrote
last) is held in memory and rebuilt from the rows when the object is loaded anew; a plain append writes one row and
reads none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import cast

from agents_store_cloudflare.database import ObjectSql, SqlError
from agents_store_cloudflare.errors import (
    InvalidArgumentError,
    SequenceConflictError,
    StaleFencingTokenError,
    StreamClosedError,
    StreamNotFoundError,
)
from agents_store_cloudflare.streams import sql as q
from agents_store_cloudflare.streams.blocks import Block, split_blocks
from agents_store_cloudflare.streams.head import StreamHead, StreamStatus, decode_head, encode_head

__all__ = ["Appended", "Page", "StreamLog"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """What an append did. A repetition stored nothing; its `last_sequence` is the first result."""

    first_sequence: int
    last_sequence: int
    is_repetition: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Chunks in order: `count` JSON texts joined by newlines, the first one of sequence `first_sequence`."""

    first_sequence: int
    count: int
    body: str

    @property
    def last_sequence(self) -> int:
        return self.first_sequence + self.count - 1


class StreamLog:
    """Chunks numbered 1, 2, 3 …, stored once each, in the order they came, until the stream ends or fails.

    Tables are made by `create` alone: every other call on a stream that was never created writes nothing.
    """

    def __init__(self, sql: ObjectSql, stream_id: str) -> None:
        self._sql = sql
        self._stream_id = stream_id
        self._head: StreamHead | None = None
        self._writers: dict[str, tuple[int, int]] | None = None

    def head(self) -> StreamHead | None:
        """The stream as it stands, None where there is none.

        Raises:
            MigrationError: newer code has written this stream.
        """
        if self._head is None:
            self._head = self._load()
        return self._head

    def existing_head(self) -> StreamHead:
        """The stream as it stands.

        Raises:
            StreamNotFoundError: there is none.
        """
        head = self.head()
        if head is None:
            raise StreamNotFoundError(self._stream_id)
        return head

    def head_from(self, from_sequence: int) -> StreamHead:
        """The stream as it stands for a reader who has everything up to `from_sequence`.

        Raises:
            StreamNotFoundError: there is none.
            SequenceConflictError: the position is above the last sequence.
        """
        head = self.existing_head()
        if from_sequence > head.last_sequence:
            raise SequenceConflictError(self._stream_id, expected=from_sequence, actual=head.last_sequence)
        return head

    def writer_count(self) -> int:
        """How many writers have stored chunks that are kept."""
        return len(self._known_writers()) if self.head() else 0

    def create(self, *, now_ms: int, fencing_token: int | None = None) -> StreamHead:
        """Make the stream unless it exists, and keep the fencing token where it is the highest.

        Raises:
            StaleFencingTokenError: a higher token has been seen.
        """
        head = self.head()
        if head is None:
            return self._create(now_ms, fencing_token)
        fence = self._checked_fence(head, fencing_token)
        if fence != head.fencing_token:
            fenced = replace(head, fencing_token=fence)
            self._sql.exec(q.UPDATE_HEAD, encode_head(fenced))
            self._head = fenced
        return self.existing_head()

    def append(
        self,
        body: str,
        *,
        writer: str,
        writer_sequence: int,
        now_ms: int,
        expected_sequence: int | None = None,
        fencing_token: int | None = None,
    ) -> Appended:
        """Store the chunks of `body` (JSON texts joined by newlines), all or none; a repeated flush stores nothing.

        Args:
            writer, writer_sequence: name the flush. A writer's numbers rise; the same ones again give the first result.
            expected_sequence: what the first chunk's sequence must be.

        Raises:
            StreamNotFoundError, StaleFencingTokenError, StreamClosedError, SequenceConflictError,
            StreamChunkTooLargeError. InvalidArgumentError: no chunks, or a flush that a later one of its writer has
            overtaken.
        """
        head = self.existing_head()
        repeated = self._repetition(writer, writer_sequence)
        if repeated is not None:
            return repeated
        fence = self._checked_fence(head, fencing_token)
        if head.status != "active":
            raise StreamClosedError(self._stream_id, status=head.status, end_status=head.end_status)
        first_sequence = head.last_sequence + 1
        if expected_sequence is not None and expected_sequence != first_sequence:
            raise SequenceConflictError(self._stream_id, expected=expected_sequence, actual=first_sequence)
        if not body:
            raise InvalidArgumentError("an append needs at least one chunk")
        blocks = split_blocks(self._stream_id, body)
        last_sequence = head.last_sequence + sum(block.count for block in blocks)
        grown = replace(head, last_sequence=last_sequence, updated_at=now_ms, fencing_token=fence)
        is_fence_new = fence != head.fencing_token
        self._store(blocks, first_sequence, (writer, writer_sequence), now_ms, grown if is_fence_new else None)
        self._known_writers()[writer] = (writer_sequence, last_sequence)
        self._head = grown
        return Appended(first_sequence=first_sequence, last_sequence=last_sequence)

    def read(self, from_sequence: int, *, max_bytes: int) -> Page:
        """What follows `from_sequence`: whole blocks of about `max_bytes` together, at least one where there is one.

        Raises:
            StreamNotFoundError: no such stream.
            SequenceConflictError: `from_sequence` is above the last one.
        """
        head = self.head_from(from_sequence)
        wanted = from_sequence + 1
        if from_sequence == head.last_sequence:
            return Page(first_sequence=wanted, count=0, body="")
        first_key, last_key, last_sequence = cast("list[int]", self._sql.exec(q.SELECT_PAGE, wanted, max_bytes)[0])
        body = cast("str", self._sql.exec(q.SELECT_BODIES, first_key, last_key)[0][0])
        # The position may lie inside the first block.
        kept = body.split("\n", wanted - first_key)[-1] if wanted > first_key else body
        return Page(first_sequence=wanted, count=last_sequence - from_sequence, body=kept)

    def end(self, *, status: str, output: str, now_ms: int, fencing_token: int | None = None) -> bool:
        """End the stream with a word and an output (JSON text); False where it was ended alike before.

        Raises:
            StreamClosedError: ended differently, or failed; it names the first outcome.
            StreamNotFoundError, StaleFencingTokenError.
        """
        return self._close("ended", now_ms, fencing_token, end_status=status, output=output)

    def fail(self, *, error: str, now_ms: int, fencing_token: int | None = None) -> bool:
        """Fail the stream with a text; False where it was failed alike before. Raises as `end` does."""
        return self._close("failed", now_ms, fencing_token, error=error)

    def _load(self) -> StreamHead | None:
        try:
            [[text]] = self._sql.exec(q.SELECT_HEAD)
        except SqlError as error:
            if error.is_missing_table():
                return None
            raise
        newest = cast("list[tuple[int, int]]", self._sql.exec(q.SELECT_LAST_BLOCK))
        return decode_head(self._stream_id, cast("str", text), newest[0] if newest else None)

    def _create(self, now_ms: int, fencing_token: int | None) -> StreamHead:
        head = StreamHead(
            status="active",
            first_sequence=1,
            last_sequence=0,
            fencing_token=fencing_token,
            created_at=now_ms,
            updated_at=now_ms,
        )

        def write() -> None:
            self._sql.exec(q.CREATE_BLOCKS)
            self._sql.exec(q.INSERT_HEAD, now_ms, encode_head(head))

        self._sql.transaction(write)
        self._head, self._writers = head, {}
        return head

    def _store(
        self, blocks: list[Block], first_sequence: int, flush: tuple[str, int], now_ms: int, head: StreamHead | None
    ) -> None:
        def write() -> None:
            if head is not None:
                self._sql.exec(q.UPDATE_HEAD, encode_head(head))
            key = first_sequence
            for block in blocks:
                self._sql.exec(q.INSERT_BLOCK, key, block.count, block.size_bytes, now_ms, *flush, block.body)
                key += block.count

        if len(blocks) == 1 and head is None:
            write()
        else:
            self._sql.transaction(write)

    def _close(
        self,
        status: StreamStatus,
        now_ms: int,
        fencing_token: int | None,
        *,
        end_status: str | None = None,
        output: str | None = None,
        error: str | None = None,
    ) -> bool:
        head = self.existing_head()
        if head.status != "active":
            same = (head.status, head.end_status, head.error) == (status, end_status, error)
            if same and _are_alike(head.output, output):
                return False
            raise StreamClosedError(self._stream_id, status=head.status, end_status=head.end_status)
        closed = replace(
            head,
            status=status,
            end_status=end_status,
            output=output,
            error=error,
            fencing_token=self._checked_fence(head, fencing_token),
            updated_at=now_ms,
            ended_at=now_ms,
        )
        self._sql.exec(q.UPDATE_HEAD, encode_head(closed))
        self._head = closed
        return True

    def _repetition(self, writer: str, writer_sequence: int) -> Appended | None:
        """What the flush gave when it was stored, None where it is a new one."""
        newest, last_sequence = self._known_writers().get(writer, (0, 0))
        if writer_sequence > newest:
            return None
        if writer_sequence < newest:
            stored = cast("int | None", self._sql.exec(q.SELECT_FLUSH, writer, writer_sequence)[0][0])
            if stored is None:
                raise InvalidArgumentError(f"flush {writer_sequence} comes after flush {newest} of the same writer")
            last_sequence = stored
        return Appended(first_sequence=last_sequence, last_sequence=last_sequence, is_repetition=True)

    def _known_writers(self) -> dict[str, tuple[int, int]]:
        """Writer -> its newest flush and the last sequence after it."""
        if self._writers is None:
            rows = cast("list[tuple[str, int, int]]", self._sql.exec(q.SELECT_WRITERS))
            self._writers = {writer: (newest, last_sequence) for writer, newest, last_sequence in rows}
        return self._writers

    def _checked_fence(self, head: StreamHead, token: int | None) -> int | None:
        """The fence after a write with `token`: the highest one seen."""
        if token is None or head.fencing_token is None:
            return head.fencing_token if token is None else token
        if token < head.fencing_token:
            raise StaleFencingTokenError(self._stream_id, expected=head.fencing_token, actual=token)
        return token


def _are_alike(one: str | None, other: str | None) -> bool:
    """Whether two JSON texts say the same, key order aside; 1 and 1.0 do not."""
    return one == other or (one is not None and other is not None and _sorted(one) == _sorted(other))


def _sorted(text: str) -> str:
    return json.dumps(json.loads(text), sort_keys=True)
