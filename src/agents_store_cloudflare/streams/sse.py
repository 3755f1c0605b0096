"""The Server-Sent Events wire of a stream: frames out, position in. Text only; who sends it is elsewhere.

```text
id: 7                      one chunk; the id is its sequence, and what EventSource sends back as Last-Event-ID
event: chunk
data: {"type":"text",…}

event: caught-up           once, when everything stored has been sent
data: {"sequence":7}

event: end                 the stream ended; nothing follows
data: {"status":"completed","output":…}

event: fail                the stream was failed; nothing follows
data: {"error":"…"}

: keep-alive               every 15 s
```
"""

from __future__ import annotations

import json
import re
from typing import Final

from agents_store_cloudflare.arguments import MAX_SAFE_INTEGER
from agents_store_cloudflare.errors import InvalidArgumentError
from agents_store_cloudflare.streams.head import StreamHead

__all__ = ["HEADERS", "KEEP_ALIVE", "caught_up_frame", "chunk_frames", "outcome_frame", "parse_position"]

KEEP_ALIVE: Final = ": keep-alive\n\n"

HEADERS: Final = (
    ("content-type", "text/event-stream; charset=utf-8"),
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
)

_POSITION = re.compile(r"[0-9]{1,16}", re.ASCII)


def chunk_frames(first_sequence: int, body: str) -> str:
    """The frames of chunks (JSON texts joined by newlines), the first one of sequence `first_sequence`."""
    return "".join(
        f"id: {sequence}\nevent: chunk\ndata: {text}\n\n"
        for sequence, text in enumerate(body.split("\n"), first_sequence)
    )


def caught_up_frame(sequence: int) -> str:
    """Said once, when everything stored up to `sequence` has been sent."""
    return f'event: caught-up\ndata: {{"sequence":{sequence}}}\n\n'


def outcome_frame(head: StreamHead) -> str:
    """The last frame of a stream that has ended or failed; the output passes as the caller encoded it."""
    if head.status == "failed":
        return f'event: fail\ndata: {{"error":{json.dumps(head.error)}}}\n\n'
    return f'event: end\ndata: {{"status":{json.dumps(head.end_status)},"output":{head.output}}}\n\n'


def parse_position(last_event_id: str | int | None, from_parameter: str | None) -> int:
    """The position a request asks for, 0 for none. `Last-Event-ID` wins: a reconnecting browser keeps the URL.

    Raises:
        InvalidArgumentError: not a whole number of 0 to 2^53 - 1.
    """
    name, given = ("Last-Event-ID", last_event_id) if last_event_id else ("from", from_parameter)
    if given is None:
        return 0
    position = int(given) if isinstance(given, str) and _POSITION.fullmatch(given) else given
    if type(position) is not int or not 0 <= position <= MAX_SAFE_INTEGER:
        raise InvalidArgumentError(f"{name} must be a whole number, the last sequence received")
    return position
