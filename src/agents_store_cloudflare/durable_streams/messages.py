"""The form of the protocol's messages in a stream's log. The log holds one JSON text on each line.

| content type       | one message is          | its text in the log                                        |
|--------------------|-------------------------|------------------------------------------------------------|
| `application/json` | one JSON value          | the value, compact                                         |
| `text/*`           | up to 256 KB of a body  | a JSON string; bytes that are no UTF-8 as below            |
| any other          | up to 256 KB of a body  | `{"type":"bytes","base64":…}`                              |

Native readers take only objects with a text `type`: every other value reaches them as `{"type":"message","data":…}`.

All objects of an isolate share its 128 MB. So a body is stored in parts of about 256 KB, and no more than one part is held
as Python objects at a time.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from typing import Final, cast

from agents_store_cloudflare.durable_streams.json_bodies import json_messages
from agents_store_cloudflare.durable_streams.refusals import Refusal
from agents_store_cloudflare.streams.protocol_state import ProtocolState

__all__ = [
    "MAX_BODY_BYTES",
    "MAX_FORK_BODY_BYTES",
    "body_of",
    "body_parts",
    "cut_message",
    "message_of_bytes",
    "size_of_message",
]

MAX_BODY_BYTES: Final = 16 * 1024 * 1024
MAX_JSON_BYTES: Final = 4 * 1024 * 1024
MAX_FORK_BODY_BYTES: Final = 1024 * 1024
"""The most bytes of a fork's own first body. The limit is low, because every step of the copy sends this body."""

PIECE_BYTES: Final = 256 * 1024
"""The most bytes of one message, when a body of bytes is cut into messages."""

PART_BYTES: Final = 256 * 1024
"""The approximate number of characters of the parts in which messages are stored."""


def body_parts(facts: ProtocolState, body: bytes) -> Iterator[str]:
    """Yield the messages of a request's body in the log's form, part by part. A body without messages has no part.

    Raises:
        InvalidArgumentError: the stream holds JSON and the body is not JSON.
        Refusal: 413, the body is too large.
    """
    limit = MAX_JSON_BYTES if facts.is_json else MAX_BODY_BYTES
    if len(body) > limit:
        raise Refusal(
            413, "body_too_large", f"the body has {len(body):,} bytes, the limit is {limit:,}; send it in parts"
        )
    if facts.is_json:
        return _joined(json_messages(body)) if body else iter(())
    return (message_of_bytes(piece, is_text=facts.is_text) for piece in _pieces(body, facts))


def _joined(messages: Iterable[str]) -> Iterator[str]:
    """Yield the messages in parts, joined by newlines."""
    part: list[str] = []
    size = 0
    for text in messages:
        part.append(text)
        size += len(text) + 1
        if size >= PART_BYTES:
            yield "\n".join(part)
            part, size = [], 0
    if part:
        yield "\n".join(part)


def body_of(facts: ProtocolState, lines: str) -> str | bytes:
    """Return the body of a read: a JSON array, or the appended bytes."""
    if facts.is_json:
        return "[" + lines.replace("\n", ",") + "]"
    if not lines:
        return b""
    return b"".join(_bytes_of(value) for value in json.loads("[" + lines.replace("\n", ",") + "]"))


def message_of_bytes(piece: bytes, *, is_text: bool) -> str:
    """Return one message of a stream that is not JSON."""
    if is_text:
        try:
            return json.dumps(piece.decode(), ensure_ascii=False)
        except UnicodeDecodeError:
            pass
    return json.dumps({"type": "bytes", "base64": base64.b64encode(piece).decode()}, separators=(",", ":"))


def cut_message(text: str, size_bytes: int, *, is_text: bool) -> str:
    """Return the first bytes of a message as a message of its own."""
    return message_of_bytes(_bytes_of(json.loads(text))[:size_bytes], is_text=is_text)


def size_of_message(text: str) -> int:
    """Return the number of bytes of a message in a stream that is not JSON."""
    return len(_bytes_of(json.loads(text)))


def _pieces(body: bytes, facts: ProtocolState) -> Iterator[bytes]:
    start = 0
    while start < len(body):
        end = min(start + PIECE_BYTES, len(body))
        if facts.is_text and end < len(body):
            # Do not cut inside a character: UTF-8 continues with 10xxxxxx, at most three times.
            back = next((back for back in range(4) if body[end - back] & 0xC0 != 0x80), 0)
            end -= back
        yield body[start:end]
        start = end


def _bytes_of(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode()
    return base64.b64decode(cast("dict[str, str]", value)["base64"])
