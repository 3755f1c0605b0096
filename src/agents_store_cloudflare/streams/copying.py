"""Copies a whole stream from one object into another, with its numbers, its outcome and its floor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agents_store_cloudflare.contract.errors import InvalidArgumentError, StreamError
from agents_store_cloudflare.streams import lifecycle
from agents_store_cloudflare.streams.commits import Commit, with_commit
from agents_store_cloudflare.streams.head import StreamHead, decode_head, encode_head
from agents_store_cloudflare.streams.readable_stream import ReadableStream
from agents_store_cloudflare.streams.rows import BlockRow

__all__ = ["CopyPage", "CopyableStream"]

PAGE_BYTES: Final = 1024 * 1024
PAGE_BLOCKS: Final = 500


@dataclass(frozen=True, slots=True)
class CopyPage:
    """Blocks of a stream in order, their chunks joined by newlines, and the stream's head as row 0 holds it."""

    head: str
    blocks: Sequence[BlockRow]
    body: str


class CopyableStream(ReadableStream):
    """A readable stream that can be copied, and that can be replaced by a copy."""

    def copy_page(self, after: int, *, now_ms: int) -> CopyPage | None:
        """Return the blocks after a key: about 1 MB, at least one block. None if there is no stream."""
        self.store_held(now_ms=now_ms)
        head = self.head()
        if head is None:
            return None
        page: list[BlockRow] = []
        size_bytes = 0
        for block in self._rows.blocks_after(after, PAGE_BLOCKS):
            page.append(block)
            size_bytes += block.size_bytes
            if size_bytes >= PAGE_BYTES:
                break
        text = encode_head(replace(head, ceiling=None, alarm_at=None))
        if not page:
            return CopyPage(text, (), "")
        return CopyPage(text, page, self._rows.bodies(page[0].first_sequence, page[-1].first_sequence))

    def restore_page(self, token: str, blocks: Sequence[BlockRow], body: str, *, now_ms: int) -> None:
        """Keep blocks of a copy beside the stream. `token` names the attempt. The blocks of another attempt are dropped."""
        self._rows.begin_arrival(token, now_ms)
        if blocks:
            self._rows.arrive(list(zip(blocks, _bodies(blocks, body), strict=True)))

    def restore(self, token: str, head: str, *, counts: tuple[int, int], replaces: bool, now_ms: int) -> bool:
        """Replace the stream by the copy that has arrived. Return False if an earlier call with this `token` did so.

        Chunks keep their numbers. If this stream has used higher numbers than the copy, these numbers are not used again, and a
        position among them belongs to an earlier life. The fence never falls.

        Args:
            head: the head of the copy, from `CopyPage`.
            counts: how many blocks and chunks the copy has.
            replaces: replace a stream that exists. When False, a stream that exists is refused, unless an earlier attempt of this
                call has made it and nobody has changed it.

        Raises:
            InvalidArgumentError: the stream exists, and `replaces` is False.
            StreamError: not everything has arrived, or another copy came meanwhile.
            MigrationError: newer code wrote the copy.
        """
        before = self.last_known()
        if before is not None and token in before.commits and (replaces or before.commits[token] == _place(before)):
            return False
        if before is not None and not before.is_deleted and not replaces:
            raise InvalidArgumentError(f"stream {self.stream_id!r} exists; replace it, or delete it first")
        if self._rows.arrived(token) != counts:
            raise StreamError(f"stream {self.stream_id!r}: the copy has not arrived whole; import it again")
        restored = _continued(decode_head(self.stream_id, head, None), before)
        commits = with_commit(restored.commits, Commit(token, _place(restored)))
        after = lifecycle.planned(replace(restored, commits=commits), now_ms)
        self._rows.take_place(after)
        self._flushes = None
        self._settle(after)
        return True


def _place(head: StreamHead) -> str:
    """Return a text that is different after each change of the stream."""
    return f"{head.incarnation} {head.first_sequence} {head.last_sequence} {head.status} {head.is_deleted}"


def _bodies(blocks: Sequence[BlockRow], body: str) -> Iterator[str]:
    lines = body.split("\n")
    begin = 0
    for block in blocks:
        yield "\n".join(lines[begin : begin + block.chunk_count])
        begin += block.chunk_count


def _continued(copy: StreamHead, before: StreamHead | None) -> StreamHead:
    """Return the head of a copy that replaces another stream or a deleted stream."""
    facts = (
        None if copy.facts is None else replace(copy.facts, source=None)
    )  # the source of a fork knows no fork under this id
    if before is None:
        return replace(copy, facts=facts)
    last_known = max(before.last_sequence, before.unknown[1])
    tokens = [head.fencing_token for head in (copy, before) if head.fencing_token is not None]
    lives = [int(head.incarnation or 0) for head in (copy, before)]
    continued = replace(copy, facts=facts, fencing_token=max(tokens, default=None), incarnation=str(max(lives) + 1))
    if last_known <= copy.last_sequence:
        return continued
    return replace(continued, last_sequence=last_known, unknown=(copy.last_sequence, last_known), has_gaps=True)
