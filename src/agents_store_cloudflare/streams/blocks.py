"""How chunks lie in block rows: their JSON texts joined by newlines (JSON text holds no raw newline)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from agents_store_cloudflare.contract.errors import StreamChunkTooLargeError

__all__ = ["MAX_BLOCK_BYTES", "MAX_CHUNK_BYTES", "Block", "split_blocks"]

MAX_BLOCK_BYTES: Final = 256 * 1024
"""A block ends before the chunk that would make it larger than this. A single larger chunk is a block of its own."""

MAX_CHUNK_BYTES: Final = 1_900_000
"""The limit of one row (2,000,000 bytes), less room for its other columns."""


@dataclass(frozen=True, slots=True)
class Block:
    """The body of one row: `count` chunks, joined by newlines."""

    body: str
    count: int
    size_bytes: int


def split_blocks(stream_id: str, body: str) -> list[Block]:
    """The blocks of a flush, in order. A flush of at most `MAX_BLOCK_BYTES` is one block.

    Raises:
        StreamChunkTooLargeError: a chunk does not fit into a row.
    """
    size_bytes = len(body.encode())
    if size_bytes <= MAX_BLOCK_BYTES:
        return [Block(body, body.count("\n") + 1, size_bytes)]
    return list(_split(stream_id, body))


def _split(stream_id: str, body: str) -> Iterator[Block]:
    texts: list[str] = []
    total_bytes = 0
    for text in body.split("\n"):
        size_bytes = len(text.encode())
        if size_bytes > MAX_CHUNK_BYTES:
            raise StreamChunkTooLargeError(stream_id, limit_bytes=MAX_CHUNK_BYTES, size_bytes=size_bytes)
        if texts and total_bytes + size_bytes > MAX_BLOCK_BYTES:
            yield Block("\n".join(texts), len(texts), total_bytes)
            texts, total_bytes = [], 0
        texts.append(text)
        total_bytes += size_bytes + 1  # and the newline after it
    yield Block("\n".join(texts), len(texts), total_bytes)
