"""Turns rows back into checkpoint tuples, and remembers their facts for the next put."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, cast

from langgraph.checkpoint.base import CheckpointMetadata, CheckpointTuple

from agents_store_cloudflare.adapters.langgraph.copying import Copy
from agents_store_cloudflare.adapters.langgraph.errors import ForeignValueError
from agents_store_cloudflare.adapters.langgraph.kinds import is_exactly
from agents_store_cloudflare.adapters.langgraph.known import (
    Element,
    InlineValue,
    KnownCheckpoint,
    KnownWrite,
    LineValue,
    ListValue,
    Range,
    StoredValue,
    Thread,
    fingerprint,
)
from agents_store_cloudflare.adapters.langgraph.layout import FORM
from agents_store_cloudflare.adapters.langgraph.lines import Lines
from agents_store_cloudflare.adapters.langgraph.pending import read_writes
from agents_store_cloudflare.adapters.langgraph.shapes import Numbers, checkpoint_of, dump
from agents_store_cloudflare.adapters.langgraph.text_codec import TextCodec
from agents_store_cloudflare.adapters.langgraph.typed_json import TypedJsonSerializer
from agents_store_cloudflare.database import Row

__all__ = ["CheckpointRow", "config_of", "metadata_json", "read_metadata", "read_row"]

_METADATA = TypedJsonSerializer(allow=())


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """A row of `__agents_graph_checkpoints`."""

    thread: Thread
    checkpoint_id: str
    parent_id: str | None
    body: str
    refs: str
    metadata: str
    writes: str | None

    @classmethod
    def of(cls, row: Row) -> CheckpointRow:
        """Return the record of a row of `reading_sql.SELECT_ONE` or a similar statement."""
        session_id, ns, *parts = cast("list[Any]", row)
        return cls((session_id, ns), *parts)


def config_of(thread: Thread, checkpoint_id: str) -> Any:
    """Return the config that names a checkpoint."""
    return {"configurable": {"thread_id": thread[0], "checkpoint_ns": thread[1], "checkpoint_id": checkpoint_id}}


def metadata_json(metadata: CheckpointMetadata) -> str:
    """Return the stored form of metadata."""
    return _METADATA.dump(metadata)


def read_metadata(text: str) -> CheckpointMetadata:
    """Return the metadata of a stored text."""
    return cast("CheckpointMetadata", _METADATA.load(text))


def read_row(row: CheckpointRow, lines: Lines, codec: TextCodec) -> tuple[CheckpointTuple, KnownCheckpoint]:
    """Return the checkpoint of a row, and the facts to remember about it.

    Raises:
        ForeignValueError: another program or a newer version wrote it, or its values cannot be rebuilt.
    """
    try:
        return _Reading(row, lines, codec).result()
    except ForeignValueError as error:
        raise ForeignValueError(f"checkpoint {row.checkpoint_id!r} of thread {row.thread[0]!r}: {error}") from error


class _Reading:
    def __init__(self, row: CheckpointRow, lines: Lines, codec: TextCodec) -> None:
        self.row, self.lines, self.codec = row, lines, codec
        try:
            form, *parts = cast("list[Any]", json.loads(row.body))
            if form != FORM:
                raise ForeignValueError(f"it has form {form!r}, this version reads {FORM}; install the newer package")
            numbers: list[Any] = parts[1]
            self.numbers = Numbers(*numbers)
            self.values: list[list[Any]] = parts[2]
            self.needs = [Range(*each) for each in json.loads(row.refs)]
        except (ValueError, TypeError) as error:
            if isinstance(error, ForeignValueError):
                raise
            raise ForeignValueError(f"its body does not have the form of this version: {error}") from error

    def result(self) -> tuple[CheckpointTuple, KnownCheckpoint]:
        row = self.row
        shape_text = self.lines.line(row.thread, self.needs[0])
        shape: dict[str, Any] = json.loads(shape_text)
        channels: list[str] = shape["c"]
        values: dict[str, Any] = {}
        known: dict[str, tuple[Any, StoredValue]] = {}
        for place, kind, *parts in self.values:
            name = channels[int(place)]
            values[name], stored = self.value(kind, parts)
            known[name] = (self.numbers.versions[int(place)], stored)
        others: dict[str, Any] = self.codec.load(dump(shape["x"])) if shape["x"] else {}
        checkpoint = checkpoint_of(row.checkpoint_id, shape, others, self.numbers, values)
        writes, stored_writes = self.writes()
        made = CheckpointTuple(
            config=config_of(row.thread, row.checkpoint_id),
            checkpoint=checkpoint,
            metadata=read_metadata(row.metadata),
            parent_config=config_of(row.thread, row.parent_id) if row.parent_id else None,
            pending_writes=writes,
        )
        return made, KnownCheckpoint(
            body=row.body,
            refs=row.refs,
            shape=self.needs[0],
            channels=channels,
            numbers=dump(list(self.numbers)),
            values=known,
            shapes={shape_text: self.needs[0]},
            value_log=None,
            writes_text=row.writes,
            writes=stored_writes,
        )

    def value(self, kind: int, parts: list[Any]) -> tuple[Any, StoredValue]:
        thread = self.row.thread
        if kind == 0:
            text = dump(parts[0])
            return self.codec.load(text), InlineValue(text)
        if kind == 1:
            line = self.needs[int(parts[0])]
            return self.codec.load(self.lines.line(thread, line)), LineValue(line)
        if kind == 2:
            return self.list_value([self.needs[each] for each in parts[0]])
        if kind == 3:
            copied = self.needs[int(parts[0])]
            text = Copy(copied, *parts[1]).text(self.lines.line(thread, copied))
            return self.codec.load(text), InlineValue(text)
        raise ForeignValueError(f"a value of it has kind {kind!r}, which this version does not know")

    def list_value(self, segments: list[Range]) -> tuple[Any, StoredValue]:
        thread = self.row.thread
        texts = [text for segment in segments for text in self.lines.elements(thread, segment)]
        values = self.codec.load_list(texts)
        elements = [Element(value, fingerprint(value), hash(text)) for value, text in zip(values, texts, strict=True)]
        parts = [part for segment in segments for part in self.lines.parts(thread, segment)]
        return values, ListValue(tuple(segments), elements, tuple(parts))

    def writes(self) -> tuple[list[tuple[str, str, Any]], dict[tuple[str, int], KnownWrite]]:
        thread = self.row.thread
        found: list[tuple[str, str, Any]] = []
        known: dict[tuple[str, int], KnownWrite] = {}
        for write in read_writes(self.row.writes):
            text = write.text(self.lines, thread)
            value = self.codec.load(text)
            found.append((write.task_id, write.channel, value))
            is_list = self.codec.joins_lists and is_exactly(value, list) and value
            known[(write.task_id, write.index)] = KnownWrite(
                path=write.path,
                channel=write.channel,
                text=text,
                elements=[self.codec.dump(each) for each in value] if is_list else None,
                expression=dump(write.expression),
                needs=write.needs(),
            )
        return found, known
