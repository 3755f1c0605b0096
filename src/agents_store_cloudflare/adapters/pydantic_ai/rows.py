"""Turns records and entries into rows, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from pydantic import TypeAdapter
from pydantic_ai.conversation_store import ConversationEntry, ConversationRecord
from pydantic_ai.messages import ModelMessagesTypeAdapter
from pydantic_core import PydanticSerializationError

from agents_store_cloudflare.adapters.errors import ForeignValueError
from agents_store_cloudflare.adapters.model_messages import check_finite, json_text, message_json, told
from agents_store_cloudflare.adapters.pydantic_ai import conversation_sql
from agents_store_cloudflare.database import MAX_VALUE_BYTES, Row, Statement

__all__ = [
    "entries_of",
    "entry_statements",
    "record_body",
    "record_of",
    "updated_at_us",
]

MOST_PART_BYTES: Final = 1_500_000
"""A longer message is stored in parts, because D1 takes at most 2,000,000 bytes for a value and for a row."""

MOST_SHARED_BYTES: Final = 200_000
"""A longer message has a statement of its own. Inside a list its text would be escaped again, and could become six times as long."""

_OWN_COLUMNS: Final = {"conversation_id", "head_id", "branches", "scope", "revision"}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_record_adapter = TypeAdapter(ConversationRecord)


def record_body(record: ConversationRecord) -> str:
    """Return the JSON text of a record without the parts that are columns.

    Raises:
        ForeignValueError: JSON cannot hold the record, or it is too large.
    """
    name = f"the record of conversation {record.conversation_id!r}"
    check_finite(record, name)
    try:
        body = _record_adapter.dump_python(record, mode="json", exclude=_OWN_COLUMNS)
    except PydanticSerializationError as error:
        raise ForeignValueError(f"{name} cannot be stored as JSON: {error}") from error
    text = json_text(body, name)
    if (size_bytes := len(text.encode())) > MAX_VALUE_BYTES:
        raise ForeignValueError(f"{name} has {size_bytes:,} bytes as JSON, D1 takes {MAX_VALUE_BYTES:,}")
    return text


def updated_at_us(record: ConversationRecord) -> int:
    """Return the time of the record's last save, in microseconds since 1970."""
    at = record.updated_at
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH) // timedelta(microseconds=1)


def record_of(row: Row) -> ConversationRecord:
    """Return the record of a row.

    Raises:
        ForeignValueError: another program or a newer version wrote the row.
    """
    conversation_id, head_id, branches, scope, revision, body = cast(
        "tuple[str, str | None, str, str | None, str, str]", row
    )
    try:
        parts = cast("dict[str, Any]", json.loads(body))
        own = {
            "conversation_id": conversation_id,
            "head_id": head_id,
            "branches": json.loads(branches),
            "scope": scope,
            "revision": revision,
        }
        return _record_adapter.validate_json(json.dumps({**parts, **own}))
    except (ValueError, TypeError) as error:
        raise ForeignValueError(
            f"the row of conversation {conversation_id!r} in __agents_conversations was written by another program or a newer "
            f"version: {told(error)}"
        ) from error


def entry_statements(conversation_id: str, entries: Sequence[ConversationEntry]) -> list[Statement]:
    """Return the statements that store new entries.

    Raises:
        ForeignValueError: JSON cannot hold a message.
    """
    statements: list[Statement] = []
    shared: list[str] = []
    size_bytes = 0
    for entry in entries:
        body = _message_text(entry)
        body_bytes = len(body.encode())
        if body_bytes > MOST_SHARED_BYTES:
            statements += _long(conversation_id, entry, body)
            continue
        if size_bytes + body_bytes > MOST_SHARED_BYTES:
            statements.append(_inserting(conversation_id, shared))
            shared, size_bytes = [], 0
        shared.append(json.dumps([entry.id, entry.parent_id, entry.kind, body], ensure_ascii=False))
        size_bytes += body_bytes
    return [*statements, _inserting(conversation_id, shared)] if shared else statements


def entries_of(rows: Sequence[Row]) -> list[ConversationEntry]:
    """Return the entries of rows, in the order of the rows.

    Raises:
        ForeignValueError: another program or a newer version wrote a row.
    """
    return [_entry(*whole) for whole in _joined(rows)]


def _message_text(entry: ConversationEntry) -> str:
    name = f"the message of entry {entry.id!r}"
    return json_text(message_json(entry.message, name), name)


def _inserting(conversation_id: str, shared: Sequence[str]) -> Statement:
    return Statement(conversation_sql.INSERT_ENTRIES, (conversation_id, f"[{','.join(shared)}]"))


def _long(conversation_id: str, entry: ConversationEntry, body: str) -> list[Statement]:
    parts = list(_parts(body))
    return [
        Statement(
            conversation_sql.INSERT_LONG_ENTRY,
            (conversation_id, entry.id, number, len(parts), entry.parent_id, entry.kind, part),
        )
        for number, part in enumerate(parts)
    ]


def _parts(body: str) -> Iterator[str]:
    content = body.encode()
    begin = 0
    while begin < len(content):
        end = min(begin + MOST_PART_BYTES, len(content))
        while end < len(content) and content[end] & 0xC0 == 0x80:  # not inside a character
            end -= 1
        yield content[begin:end].decode()
        begin = end


def _joined(rows: Sequence[Row]) -> Iterator[tuple[str, str | None, str, str]]:
    """Yield (entry, parent, kind, body) of each entry. The body has the joined parts."""
    at = 0
    while at < len(rows):
        entry_id, parent_id, kind, _, parts, _ = cast("tuple[str, str | None, str, int, int, str]", rows[at])
        own = rows[at : at + parts]
        if [tuple(row[:1]) + tuple(row[3:4]) for row in own] != [(entry_id, number) for number in range(parts)]:
            raise ForeignValueError(
                f"entry {entry_id!r} lacks some of its {parts} rows: somebody deleted rows of __agents_conversation_entries"
            )
        yield entry_id, parent_id, kind, "".join(cast("str", row[5]) for row in own)
        at += parts


def _entry(entry_id: str, parent_id: str | None, kind: str, body: str) -> ConversationEntry:
    where = f"the row of entry {entry_id!r} in __agents_conversation_entries"
    if kind != "message":
        raise ForeignValueError(f"{where} is of kind {kind!r}, which this version does not know")
    try:
        [message] = ModelMessagesTypeAdapter.validate_json(f"[{body}]")
    except ValueError as error:
        raise ForeignValueError(f"{where} holds no message of this version of pydantic-ai: {told(error)}") from error
    return ConversationEntry(id=entry_id, parent_id=parent_id, message=message)
