"""The Server-Sent Events wire of a stream: it writes the text of frames, and reads the position of a request.

```text
id: 7                      one chunk; the id is its sequence, and what EventSource sends back as Last-Event-ID
event: chunk
data: {"type":"text",…}

event: end                 the other events of `frames.py` have no id
data: {"status":"completed","output":…}

: keep-alive               every 15 s
```
"""

from __future__ import annotations

import re
from typing import Final

from agents_store_cloudflare.contract.arguments import MAX_SAFE_INTEGER
from agents_store_cloudflare.contract.errors import InvalidArgumentError

__all__ = ["HEADERS", "KEEP_ALIVE", "parse_position", "sse_frame"]

KEEP_ALIVE: Final = ": keep-alive\n\n"

HEADERS: Final = (
    ("content-type", "text/event-stream; charset=utf-8"),
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
)

_POSITION = re.compile(r"[0-9]{1,16}", re.ASCII)


def sse_frame(event: str, data: str, sequence: int | None = None, /) -> str:
    """Return one Server-Sent Event as text."""
    id_line = "" if sequence is None else f"id: {sequence}\n"
    return f"{id_line}event: {event}\ndata: {data}\n\n"


def parse_position(last_event_id: str | int | None, from_parameter: str | None) -> int:
    """Return the position that a request asks for; 0 if it names none.

    `Last-Event-ID` wins over the URL, because a browser reconnects with the old URL.

    Raises:
        InvalidArgumentError: the position is no whole number from 0 to 2^53 - 1.
    """
    name, given = ("Last-Event-ID", last_event_id) if last_event_id else ("from", from_parameter)
    if given is None:
        return 0
    position = int(given) if isinstance(given, str) and _POSITION.fullmatch(given) else given
    if type(position) is not int or not 0 <= position <= MAX_SAFE_INTEGER:
        raise InvalidArgumentError(f"{name} must be a whole number, the last sequence received")
    return position
