"""Messages as the database holds them: blocks of JSON texts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

from agents_store_cloudflare.contract.errors import StateSizeExceededError
from agents_store_cloudflare.contract.json_values import JsonValue, encode_each
from agents_store_cloudflare.contract.state.records import Message
from agents_store_cloudflare.database import Row
from agents_store_cloudflare.state.damage import DAMAGE, damaged
from agents_store_cloudflare.state.numbering import MAX_MESSAGES

__all__ = ["Block", "Messages", "blocks_of", "message_list", "messages_of", "stored_messages", "without_thinking"]

Messages: TypeAlias = "Sequence[Mapping[str, object]]"

SEPARATOR = "\t"
"""The text between two messages of a block. JSON text of this package holds no raw tab, and a tab survives `wrangler d1 export`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One row of messages: their JSON texts joined by `SEPARATOR`."""

    first_sequence: int
    count: int
    body: str


def message_list(messages: Iterable[Mapping[str, object]]) -> list[Message]:
    """Return the messages as a new list.

    Raises:
        TypeError: `messages` is a single message or a text, or one of them is no dict.
    """
    given = cast("object", messages)
    if isinstance(given, Mapping | str | bytes) or not isinstance(given, Iterable):
        raise TypeError(f"messages must be a list of messages, not {type(messages).__name__}")
    listed = cast("list[Message]", list(messages))
    _check_dicts(listed)
    return listed


def blocks_of(
    messages: Messages, first_sequence: int, limit_bytes: int, session_id: str, operation: str
) -> Iterator[Block]:
    """Return the messages as blocks of at most `limit_bytes` each.

    Args:
        messages: the messages.
        first_sequence: the sequence of the first one.
        limit_bytes: the most bytes of a block.
        session_id: the session, for errors.
        operation: the name of the call, for errors.

    Raises:
        TypeError: a message is no dict, or holds a type that JSON does not have.
        InvalidArgumentError: a message holds a value that JSON cannot carry.
        StateSizeExceededError: one message alone is over the limit.
    """
    texts = _message_texts(messages)
    begin = size_bytes = 0
    for index, text in enumerate(texts):
        text_bytes = len(text) if text.isascii() else len(text.encode())
        if text_bytes > limit_bytes:
            raise StateSizeExceededError(operation, session_id, limit_bytes, text_bytes)
        if index > begin and size_bytes + text_bytes + 1 > limit_bytes:
            yield Block(
                first_sequence=first_sequence + begin, count=index - begin, body=SEPARATOR.join(texts[begin:index])
            )
            begin, size_bytes = index, 0
        size_bytes += text_bytes + 1
    if texts:
        yield Block(first_sequence=first_sequence + begin, count=len(texts) - begin, body=SEPARATOR.join(texts[begin:]))


def _message_texts(messages: Messages) -> list[str]:
    _check_dicts(messages)
    return encode_each(messages, name="message")


def _check_dicts(messages: Sequence[object]) -> None:
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise TypeError(f"message {index} must be a dict, not {type(message).__name__}")


def stored_messages(session_id: str, rows: Sequence[Row], first: int, end: int) -> list[Message]:
    """Return the messages with first <= sequence < end of a session, of its block rows as `messages_of` takes them.

    Raises:
        D1StateError: another program has damaged a block; the message names the sequence of its first message.
    """
    try:
        messages = messages_of(rows, first, end)
        _check_dicts(messages)
    except DAMAGE as error:
        raise damaged(f"message {_damaged_sequence(rows, first)} of session {session_id!r}", error) from error
    return messages


def _damaged_sequence(rows: Sequence[Row], first: int) -> int:
    """Return the sequence at which the first unreadable block begins, or `first` if it begins earlier."""
    for row in rows:
        start = cast("int", row[0])
        try:
            _check_dicts(messages_of([row], start, start + MAX_MESSAGES))
        except DAMAGE:
            return max(start, first)
    return first


def messages_of(rows: Sequence[Row], first: int, end: int) -> list[Message]:
    """Return the messages with first <= sequence < end of block rows (sequence of the block's first message, body)."""
    texts = [
        _lines_between(body, first - start, end - start) for start, body in cast("Sequence[tuple[int, str]]", rows)
    ]
    # The texts are complete JSON texts, so one parse reads all of them.
    return cast("list[Message]", json.loads(f"[{','.join(filter(None, texts))}]"))


def _lines_between(body: str, low: int, high: int) -> str:
    """Return the texts number low … high - 1 of a block, joined by commas."""
    if low <= 0 and body.count(SEPARATOR) < high:
        return body.replace(SEPARATOR, ",")
    return ",".join(body.split(SEPARATOR)[max(low, 0) : max(high, 0)])


def without_thinking(message: Message) -> Message:
    kept: dict[str, JsonValue] = {key: value for key, value in message.items() if key != "thinking"}  # type: ignore[misc]
    return cast("Message", kept)
