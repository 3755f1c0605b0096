"""The frames that a listener gets, over every wire: an event, its data as JSON text, and the sequence of a chunk.

| event       | data                                    | when                                              |
|-------------|-----------------------------------------|---------------------------------------------------|
| `chunk`     | the chunk, as its writer encoded it     | for each chunk, in order; the sequence is its id  |
| `caught-up` | `{"sequence"}`                          | once, when everything stored has been sent        |
| `truncated` | `{"fromSequence", "firstSequence"}`     | the listener has chunks that the stream no longer |
|             |                                         | has, or its next chunks are gone; then the oldest |
|             |                                         | kept chunks follow                                |
| `end`       | `{"status", "output"}`                  | the stream ended; nothing follows                 |
| `fail`      | `{"error"}`                             | the stream was failed; nothing follows            |
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from agents_store_cloudflare.streams.head import StreamHead

__all__ = [
    "PAGE_BYTES",
    "FramePage",
    "FrameWriter",
    "caught_up_frame",
    "chunk_pages",
    "outcome_frame",
    "truncated_frame",
]

PAGE_BYTES: Final = 64 * 1024
"""The most bytes of a page of frames. A single larger frame is a page of its own."""


class FrameWriter(Protocol):
    """A function that returns one frame of a wire. The texts of several frames can be joined."""

    def __call__(self, event: str, data: str, sequence: int | None = None, /) -> str:
        """Return the text of one frame."""
        ...


@dataclass(frozen=True, slots=True)
class FramePage:
    """Frames of consecutive chunks, from `first_sequence` to `last_sequence`."""

    text: str
    first_sequence: int
    last_sequence: int


def chunk_pages(write: FrameWriter, first_sequence: int, texts: Iterable[str]) -> Iterator[FramePage]:
    """Yield the frames of chunks (a JSON text each), page by page; the first chunk has `first_sequence`."""
    frames: list[str] = []
    total_bytes, begins, sequence = 0, first_sequence, first_sequence
    for sequence, text in enumerate(texts, first_sequence):
        frame = write("chunk", text, sequence)
        size_bytes = len(frame) if frame.isascii() else len(frame.encode())
        if frames and total_bytes + size_bytes > PAGE_BYTES:
            yield FramePage("".join(frames), begins, sequence - 1)
            frames, total_bytes, begins = [], 0, sequence
        frames.append(frame)
        total_bytes += size_bytes
    yield FramePage("".join(frames), begins, sequence)


def caught_up_frame(write: FrameWriter, sequence: int) -> str:
    """Return the frame that tells a listener once that it has everything stored, up to `sequence`."""
    return write("caught-up", f'{{"sequence":{sequence}}}')


def truncated_frame(write: FrameWriter, *, from_sequence: int, first_sequence: int) -> str:
    """Return the frame for a listener whose position `from_sequence` is no longer valid. Chunk `first_sequence` comes next."""
    return write("truncated", f'{{"fromSequence":{from_sequence},"firstSequence":{first_sequence}}}')


def outcome_frame(write: FrameWriter, head: StreamHead) -> str:
    """Return the last frame of a stream that has ended or failed. The output stays as its caller encoded it."""
    if head.status == "failed":
        return write("fail", f'{{"error":{json.dumps(head.error)}}}')
    return write("end", f'{{"status":{json.dumps(head.end_status)},"output":{head.output}}}')
