"""What a listener is told, whatever the wire: each frame is an event, its data as JSON text, and a chunk's sequence.

| event       | data                                    | when                                              |
|-------------|-----------------------------------------|---------------------------------------------------|
| `chunk`     | the chunk, as its writer encoded it     | one each, in order; the sequence is its id        |
| `caught-up` | `{"sequence"}`                          | once, when everything stored has been sent        |
| `truncated` | `{"fromSequence", "firstSequence"}`     | chunks in between are gone; the oldest kept follow |
| `end`       | `{"status", "output"}`                  | the stream ended; nothing follows                 |
| `fail`      | `{"error"}`                             | the stream was failed; nothing follows            |
"""

from __future__ import annotations

import json
from typing import Protocol

from agents_store_cloudflare.streams.head import StreamHead

__all__ = ["FrameWriter", "caught_up_frame", "chunk_frames", "outcome_frame", "truncated_frame"]


class FrameWriter(Protocol):
    """How a wire writes one frame; frames of a wire can be joined."""

    def __call__(self, event: str, data: str, sequence: int | None = None, /) -> str:
        """The text of one frame."""
        ...


def chunk_frames(write: FrameWriter, first_sequence: int, body: str) -> str:
    """The frames of chunks (JSON texts joined by newlines), the first one of sequence `first_sequence`."""
    return "".join(write("chunk", text, sequence) for sequence, text in enumerate(body.split("\n"), first_sequence))


def caught_up_frame(write: FrameWriter, sequence: int) -> str:
    """Said once, when everything stored up to `sequence` has been sent."""
    return write("caught-up", f'{{"sequence":{sequence}}}')


def truncated_frame(write: FrameWriter, *, from_sequence: int, first_sequence: int) -> str:
    """What followed `from_sequence` is gone up to `first_sequence`, which comes next."""
    return write("truncated", f'{{"fromSequence":{from_sequence},"firstSequence":{first_sequence}}}')


def outcome_frame(write: FrameWriter, head: StreamHead) -> str:
    """The last frame of a stream that has ended or failed; the output passes as the caller encoded it."""
    if head.status == "failed":
        return write("fail", f'{{"error":{json.dumps(head.error)}}}')
    return write("end", f'{{"status":{json.dumps(head.end_status)},"output":{head.output}}}')
