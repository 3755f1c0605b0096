"""Blocks: a row holds the JSON texts of several chunks, joined by newlines (JSON text holds no raw newline)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from agents_store_cloudflare.contract.errors import StreamChunkTooLargeError

__all__ = ["MAX_BLOCK_BYTES", "MAX_CHUNK_BYTES", "Block", "split_blocks", "texts_of"]

MAX_BLOCK_BYTES: Final = 256 * 1024
"""A block ends before the chunk that would make it larger than this. A single larger chunk is a block of its own."""

MAX_CHUNK_BYTES: Final = 1_900_000
"""The limit of one row (2,000,000 bytes), minus the room for its other columns."""


@dataclass(frozen=True, slots=True)
class Block:
    """The body of one row: `count` chunks, joined by newlines."""

    body: str
    count: int
    size_bytes: int


def split_blocks(stream_id: str, body: str) -> Iterator[Block]:
    """Yield the blocks of a flush in order. A flush of at most `MAX_BLOCK_BYTES` is one block.

    Raises:
        StreamChunkTooLargeError: a chunk does not fit into a row.
    """
    data = body.encode()
    if len(data) <= MAX_BLOCK_BYTES:
        yield Block(body, body.count("\n") + 1, len(data))
        return
    start = 0
    while start <= len(data):
        end = _block_end(data, start)
        if end - start > MAX_CHUNK_BYTES:
            raise StreamChunkTooLargeError(stream_id, limit_bytes=MAX_CHUNK_BYTES, size_bytes=end - start)
        text = data[start:end].decode()
        yield Block(text, text.count("\n") + 1, end - start)
        start = end + 1


def texts_of(body: str) -> Iterator[str]:
    """Yield the chunks of a body one by one. A split of a whole long body would need many times its memory."""
    if len(body) <= MAX_BLOCK_BYTES:
        yield from body.split("\n")
        return
    start = 0
    while (end := body.find("\n", start)) >= 0:
        yield body[start:end]
        start = end + 1
    yield body[start:]


def _block_end(data: bytes, start: int) -> int:
    """Return the end of the block that begins at `start`: before a newline, or at the end of the data."""
    if len(data) - start <= MAX_BLOCK_BYTES:
        return len(data)
    end = data.rfind(b"\n", start, start + MAX_BLOCK_BYTES + 1)
    if end < 0:
        end = data.find(b"\n", start)  # a single larger chunk
    return len(data) if end < 0 else end
