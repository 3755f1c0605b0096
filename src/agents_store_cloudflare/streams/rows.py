"""The rows of one stream: its head and its blocks. They are written together in one transaction, and read by key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar, cast

from agents_store_cloudflare.database import ObjectSql, SqlError
from agents_store_cloudflare.streams import copy_sql as c, sql as q
from agents_store_cloudflare.streams.blocks import MAX_BLOCK_BYTES, split_blocks
from agents_store_cloudflare.streams.flushes import KnownFlushes
from agents_store_cloudflare.streams.head import StreamHead, decode_head, encode_head
from agents_store_cloudflare.streams.tail import Flush, merged

__all__ = ["BlockRow", "StreamRows"]

T = TypeVar("T")


class BlockRow(NamedTuple):
    """A block without its body. `writer` and `number` name its flush."""

    first_sequence: int
    chunk_count: int
    size_bytes: int
    written_at: int
    writer: str
    number: int


class StreamRows:
    """Writes and reads the rows of one stream. A change of one row needs no transaction."""

    def __init__(self, sql: ObjectSql, stream_id: str) -> None:
        self._sql = sql
        self._stream_id = stream_id

    def load(self) -> StreamHead | None:
        """Return the head; None if there is no table.

        Raises:
            MigrationError: newer code has written this stream.
        """
        try:
            [[text]] = self._sql.exec(q.SELECT_HEAD)
        except SqlError as error:
            if error.is_missing_table():
                return None
            raise
        newest = cast("list[tuple[int, int]]", self._sql.exec(q.SELECT_LAST_BLOCK))
        return decode_head(self._stream_id, cast("str", text), newest[0] if newest else None)

    def create(self, head: StreamHead) -> None:
        """Make the table, and store the head."""

        def write() -> None:
            self._sql.exec(q.CREATE_BLOCKS)
            self._sql.exec(q.INSERT_HEAD, head.created_at, encode_head(head))

        self._sql.transaction(write)

    def write(
        self,
        *,
        head: StreamHead | None = None,
        flushes: Sequence[Flush] = (),
        first_kept: int | None = None,
        now_ms: int = 0,
    ) -> None:
        """Store the flushes as blocks, store the head, and drop the blocks before `first_kept`.

        Steps whose argument is absent are left out.
        """

        def write() -> None:
            for last, body in merged(flushes):
                self._insert(last, body, now_ms)
            if first_kept is not None:
                self._sql.exec(q.DELETE_BLOCKS_BEFORE, first_kept)
            if head is not None:
                self._sql.exec(q.UPDATE_HEAD, encode_head(head))

        has_one_block = len(flushes) == 1 and flushes[0].size_bytes <= MAX_BLOCK_BYTES
        self._run(write, is_one=first_kept is None and (has_one_block if head is None else not flushes))

    def empty(self, head: StreamHead) -> None:
        """Store the head and drop all blocks."""

        def write() -> None:
            self._sql.exec(q.DELETE_ALL_BLOCKS)
            self._sql.exec(q.UPDATE_HEAD, encode_head(head))

        self._run(write, is_one=False)

    def blocks_after(self, key: int, limit: int) -> list[BlockRow]:
        """Return up to `limit` blocks after a key, without their bodies."""
        return [
            BlockRow(*cast("tuple[int, int, int, int, str, int]", row))
            for row in self._sql.exec(c.SELECT_BLOCKS_AFTER, key, limit)
        ]

    def begin_arrival(self, token: str, now_ms: int) -> None:
        """Prepare the table for the blocks of a copy. Blocks of the same attempt stay. Blocks of another attempt are dropped."""
        if self.arrived(token) is not None:
            return

        def begin() -> None:
            self._sql.exec(c.DROP_ARRIVING)
            self._sql.exec(c.CREATE_ARRIVING)
            self._sql.exec(c.INSERT_ATTEMPT, now_ms, token)

        self._sql.transaction(begin)

    def arrive(self, blocks: Sequence[tuple[BlockRow, str]]) -> None:
        """Store blocks of a copy with their bodies."""

        def write() -> None:
            for block, body in blocks:
                self._sql.exec(c.INSERT_ARRIVING, *block, body)

        self._sql.transaction(write)

    def arrived(self, token: str) -> tuple[int, int] | None:
        """Return the number of blocks and of chunks of this copy that have arrived; None if no copy or another copy has arrived."""
        try:
            [[blocks, chunks]] = self._sql.exec(c.SELECT_ARRIVED, token)
        except SqlError as error:
            if error.is_missing_table():
                return None
            raise
        return None if chunks is None else (cast("int", blocks), cast("int", chunks))

    def take_place(self, head: StreamHead) -> None:
        """Replace the stream's rows by the rows of the arrived copy."""

        def write() -> None:
            self._sql.exec(c.UPDATE_ATTEMPT, encode_head(head))
            self._sql.exec(c.DROP_BLOCKS)
            self._sql.exec(c.RENAME_ARRIVING)

        self._sql.transaction(write)

    def transaction(self, body: Callable[[], T]) -> T:
        """Run a function as one transaction. If it raises, everything that it wrote is undone."""
        return self._sql.transaction(body)

    def page(self, wanted: int, max_bytes: int) -> tuple[int, int, int]:
        """Return the keys of the first and the last block of a page, and its last sequence.

        Row 0 gives the three if no block holds `wanted`.
        """
        [row] = self._sql.exec(q.SELECT_PAGE, wanted, max_bytes)
        return cast("tuple[int, int, int]", tuple(row))

    def bodies(self, first_key: int, last_key: int) -> str:
        """Return the chunks of all blocks between two keys, joined by newlines."""
        return self._sql.long_text(q.SELECT_BODIES, first_key, last_key)

    def next_key(self, sequence: int) -> int | None:
        """Return the key of the first block after `sequence`; None if there is none."""
        return cast("int | None", self._sql.exec(q.SELECT_NEXT_KEY, sequence)[0][0])

    def last_sequence_from(self, sequence: int) -> int:
        """Return the last sequence of the block that holds `sequence`, otherwise of the newest block before it; 0 if there is none."""
        return cast("int", self._sql.exec(q.SELECT_LAST_FROM, sequence)[0][0])

    def chunk_count(self, first_sequence: int) -> int:
        """Return the number of stored chunks from `first_sequence` on."""
        return cast("int", self._sql.exec(q.SELECT_CHUNK_COUNT, first_sequence)[0][0])

    def known_flushes(self, head: StreamHead) -> KnownFlushes:
        """Return the newest flush of each writer."""
        return KnownFlushes(self._sql, head.forgotten_flushes)

    def _insert(self, last: Flush, body: str, now_ms: int) -> None:
        key = last.last_sequence - body.count("\n")
        for block in split_blocks(self._stream_id, body):
            size = (block.count, block.size_bytes)
            self._sql.exec(q.INSERT_BLOCK, key, *size, now_ms, last.writer, last.number, block.body)
            key += block.count

    def _run(self, write: Callable[[], None], *, is_one: bool) -> None:
        if is_one:
            write()
        else:
            self._sql.transaction(write)
