"""How messages lie in a stream's log, which holds JSON texts, one a line.

| content type       | one message is          | its text in the log                                        |
|--------------------|-------------------------|------------------------------------------------------------|
| `application/json` | one JSON value          | the value, compact                                         |
| `text/*`           | up to 256 KB of a body  | a JSON string; bytes that are no UTF-8 as below            |
| any other          | up to 1 MB of a body    | `{"type":"bytes","base64":…}`                              |

Native readers take only objects with a text `type`: every other value reaches them as `{"type":"message","data":…}`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Final, cast

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.contract.json_values import encode_json, parse_json
from agents_store_cloudflare.durable_streams.refusals import Refusal
from agents_store_cloudflare.streams.protocol_state import ProtocolState

__all__ = [
    "MAX_BODY_BYTES",
    "MAX_FORK_BODY_BYTES",
    "body_of",
    "cut_message",
    "encode_body",
    "message_of_bytes",
    "size_of_message",
]

MAX_BODY_BYTES: Final = 16 * 1024 * 1024
MAX_JSON_BYTES: Final = 4 * 1024 * 1024
MAX_FORK_BODY_BYTES: Final = 1024 * 1024
"""What a fork may begin with beyond what it copies: it travels with every step of the copy."""

MAX_CONTAINERS: Final = 300_000
"""Objects and arrays in one JSON body: each costs the isolate up to 200 bytes while it is checked."""

TEXT_PIECE_BYTES: Final = 256 * 1024
BINARY_PIECE_BYTES: Final = 1024 * 1024


def encode_body(facts: ProtocolState, body: bytes) -> str:
    """The messages of a request's body, as the log takes them; "" where there are none.

    Raises:
        InvalidArgumentError: no JSON where that is asked for.
        Refusal: 413, too large.
    """
    if len(body) > (MAX_JSON_BYTES if facts.is_json else MAX_BODY_BYTES):
        limit = MAX_JSON_BYTES if facts.is_json else MAX_BODY_BYTES
        raise Refusal(
            413, "body_too_large", f"the body has {len(body):,} bytes, the limit is {limit:,}; send it in parts"
        )
    if facts.is_json:
        return "\n".join(_json_messages(body)) if body else ""
    piece_bytes = TEXT_PIECE_BYTES if facts.is_text else BINARY_PIECE_BYTES
    return "\n".join(message_of_bytes(piece, is_text=facts.is_text) for piece in _pieces(body, piece_bytes, facts))


def body_of(facts: ProtocolState, lines: str) -> str | bytes:
    """The body of a read: a JSON array, or the bytes as they were appended."""
    if facts.is_json:
        return "[" + lines.replace("\n", ",") + "]"
    if not lines:
        return b""
    return b"".join(_bytes_of(value) for value in json.loads("[" + lines.replace("\n", ",") + "]"))


def message_of_bytes(piece: bytes, *, is_text: bool) -> str:
    """One message of a stream that is not JSON."""
    if is_text:
        try:
            return json.dumps(piece.decode(), ensure_ascii=False)
        except UnicodeDecodeError:
            pass
    return json.dumps({"type": "bytes", "base64": base64.b64encode(piece).decode()}, separators=(",", ":"))


def cut_message(text: str, size_bytes: int, *, is_text: bool) -> str:
    """The first bytes of a message as a message of its own."""
    return message_of_bytes(_bytes_of(json.loads(text))[:size_bytes], is_text=is_text)


def size_of_message(text: str) -> int:
    """How many bytes a message of a stream that is not JSON has."""
    return len(_bytes_of(json.loads(text)))


def _json_messages(body: bytes) -> list[str]:
    if body.count(b"[") + body.count(b"{") > MAX_CONTAINERS:
        raise Refusal(
            413, "body_too_large", f"the body has over {MAX_CONTAINERS:,} objects and arrays; send it in parts"
        )
    try:
        value = parse_json(body, name="the body")
        values = value if isinstance(value, list) else [value]
        return [encode_json(each, name="a message") for each in values]
    except RecursionError:
        raise InvalidArgumentError("the body nests too deep") from None


def _pieces(body: bytes, piece_bytes: int, facts: ProtocolState) -> Iterator[bytes]:
    start = 0
    while start < len(body):
        end = min(start + piece_bytes, len(body))
        if facts.is_text and end < len(body):
            # Not inside a character: UTF-8 continues with 10xxxxxx, at most three times.
            back = next((back for back in range(4) if body[end - back] & 0xC0 != 0x80), 0)
            end -= back
        yield body[start:end]
        start = end


def _bytes_of(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode()
    return base64.b64decode(cast("dict[str, str]", value)["base64"])
