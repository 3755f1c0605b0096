"""Makes a row and new lines of a checkpoint. Every value is stored once. Of a growing list only the new elements are stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, cast

from langgraph.checkpoint.base import Checkpoint

from agents_store_cloudflare.adapters.langgraph.kinds import is_exactly
from agents_store_cloudflare.adapters.langgraph.known import (
    Element,
    InlineValue,
    KnownCheckpoint,
    LineValue,
    ListValue,
    Range,
    StoredValue,
)
from agents_store_cloudflare.adapters.langgraph.lines import (
    MOST_LINE_BYTES,
    PART_MARK,
    NewLines,
    new_log,
    ranges_json,
)
from agents_store_cloudflare.adapters.langgraph.shapes import NUMBERED, dump, numbers_of, shape_of
from agents_store_cloudflare.adapters.langgraph.text_codec import FixedCodec

__all__ = ["FORM", "Layout", "Sharing", "body_text", "laid_out"]

FORM: Final = 1
"""The version of the form of a body. A newer version is refused."""

MOST_INLINE_BYTES: Final = 48
"""A longer value becomes a line, and later checkpoints only refer to it."""

MOST_PASSING_BYTES: Final = 60_000
"""The most bytes of a value in a body for LangGraph's own channels, whose values no later checkpoint has."""

MOST_SEGMENTS: Final = 8
"""The most segments of a list that was cut and continued. With more, the list is stored anew."""

Sharing: TypeAlias = 'Literal["append", "share", "nothing"]'
"""The use that a checkpoint makes of its parent's lines.

It uses all lines and adds to the parent's logs, or uses all lines and adds to new logs, or uses none.
"""


@dataclass(slots=True)
class Layout:
    """The form of a checkpoint that is about to be stored.

    Attributes:
        fresh: the new lines of lists with their texts, which the tasks of the parent have written.
    """

    known: KnownCheckpoint
    lines: NewLines
    needs: list[Range]
    fresh: dict[str, Range] = field(default_factory=dict[str, Range])


def laid_out(
    checkpoint: Checkpoint,
    changed: frozenset[str],
    parent: KnownCheckpoint | None,
    codec: FixedCodec,
    sharing: Sharing,
) -> Layout:
    """Return the layout of a checkpoint that refers to its parent's lines.

    Args:
        changed: the channels that have changed since the parent.
        parent: the known facts about the parent checkpoint.
    """
    return _Laying(checkpoint, changed, None if sharing == "nothing" else parent, codec, sharing == "append").result()


class _Laying:
    def __init__(
        self,
        checkpoint: Checkpoint,
        changed: frozenset[str],
        parent: KnownCheckpoint | None,
        codec: FixedCodec,
        appends: bool,  # noqa: FBT001
    ) -> None:
        self.checkpoint, self.changed, self.parent, self.codec = checkpoint, changed, parent, codec
        self.appends = appends
        self.lines = NewLines()
        self.fresh: dict[str, Range] = {}
        self.value_log = parent.value_log if parent and parent.value_log and appends else (new_log(), 0)
        self.shapes = dict(parent.shapes) if parent else {}

    def result(self) -> Layout:
        checkpoint = self.checkpoint
        others = {name: value for name, value in checkpoint.items() if name not in NUMBERED}
        shape = shape_of(checkpoint, self.codec.dump(others) if others else "{}")
        where = self.shapes.get(shape.text)
        if where is None:
            where = self.shapes[shape.text] = self.line(shape.text)
        versions = checkpoint["channel_versions"]
        values = {
            name: (versions.get(name), self.stored(name, value)) for name, value in checkpoint["channel_values"].items()
        }
        numbers = dump(list(numbers_of(checkpoint, shape.channels)))
        body, needs = body_text(where, shape.channels, numbers, values)
        log, _ = self.value_log
        known = KnownCheckpoint(
            body=body,
            refs=ranges_json(needs),
            shape=where,
            channels=shape.channels,
            numbers=numbers,
            values=values,
            shapes=self.shapes,
            value_log=(log, self.end_of(log)),
        )
        return Layout(known, self.lines, needs, self.fresh)

    def end_of(self, log: str) -> int:
        start, lines = self.lines.added.get(log, (self.value_log[1], []))
        return start + len(lines)

    def line(self, text: str) -> Range:
        if len(text.encode()) > MOST_LINE_BYTES:
            return self.lines.add_long(text, new_log())
        return self.lines.add(*self.value_log, [text])

    def stored(self, name: str, value: Any) -> StoredValue:
        before = self.parent.values.get(name) if self.parent else None
        if (
            before is not None
            and name not in self.changed
            and before[0] == self.checkpoint["channel_versions"].get(name)
        ):
            return before[1]
        if is_exactly(value, list) and value:
            return self.listed(name, value, before[1] if before else None)
        return self.scalar(name, self.codec.dump(value))

    def scalar(self, name: str, text: str) -> StoredValue:
        size_bytes = len(text.encode())
        if size_bytes <= (MOST_PASSING_BYTES if name.startswith("__") else MOST_INLINE_BYTES):
            return InlineValue(text)
        return LineValue(self.line(text))

    def listed(self, name: str, values: list[Any], before: StoredValue | None) -> StoredValue:
        known = before if isinstance(before, ListValue) else None
        texts: list[str | None] = []
        elements: list[Element] = []
        old = known.elements if known else []
        for place, value in enumerate(values):
            there = old[place] if place < len(old) else None
            mark = self.codec.mark(value)
            if there is not None and mark is not None and there.value is value and there.mark == mark:
                elements.append(there)
                texts.append(None)
            else:
                text = self.codec.dump(value)
                elements.append(Element(value, mark, hash(text)))
                texts.append(text)
        if known is None:
            # Without a known list every element was encoded.
            joined = f"[{','.join(cast('list[str]', texts))}]" if self.codec.joins_lists else self.codec.dump(values)
            if name.startswith("__") or len(joined) <= MOST_INLINE_BYTES:
                return self.scalar(name, joined)
        return self.list_value(known, elements, texts)

    def list_value(self, known: ListValue | None, elements: list[Element], texts: list[str | None]) -> StoredValue:
        kept = _same_length(known.elements if known else [], elements)
        segments = _cut(known.segments if known else (), kept)
        if len(segments) >= MOST_SEGMENTS:
            kept, segments = 0, ()
        parts = list(known.parts) if known and kept else []
        added = [
            self.codec.dump(element.value) if text is None else text
            for element, text in zip(elements[kept:], texts[kept:], strict=True)
        ]
        if added:
            segments = self.appended(known, segments, kept, added, parts)
        return ListValue(segments, elements, tuple(parts))

    def appended(
        self, known: ListValue | None, segments: tuple[Range, ...], kept: int, texts: list[str], parts: list[Range]
    ) -> tuple[Range, ...]:
        lines = [self.element_line(text, parts) for text in texts]
        whole = known is not None and kept == len(known.elements) and bool(segments)
        last = segments[-1] if whole and self.appends else None
        log, end = (last.log, last.end) if last else (new_log(), 0)
        where = self.lines.add(log, end, lines)
        for place, text in enumerate(texts):
            if lines[place] is text:
                self.fresh.setdefault(text, Range(log, where.first + place, where.first + place + 1))
        if last:
            return (*segments[:-1], Range(log, last.first, where.end))
        return (*segments, where)

    def element_line(self, text: str, parts: list[Range]) -> str:
        if len(text.encode()) <= MOST_LINE_BYTES:
            return text
        where = self.lines.add_long(text, new_log())
        parts.append(where)
        return PART_MARK + dump(list(where))


def _same_length(old: list[Element], new: list[Element]) -> int:
    """Return the number of elements at the beginning that are unchanged."""
    for place, (one, other) in enumerate(zip(old, new, strict=False)):
        if one.digest != other.digest:
            return place
    return min(len(old), len(new))


def _cut(segments: tuple[Range, ...], count: int) -> tuple[Range, ...]:
    """Return the segments of the first `count` elements."""
    kept: list[Range] = []
    for segment in segments:
        if count <= 0:
            break
        length = min(segment.end - segment.first, count)
        kept.append(Range(segment.log, segment.first, segment.first + length))
        count -= length
    return tuple(kept)


def body_text(
    shape: Range,
    channels: list[str],
    numbers: str,
    values: dict[str, tuple[Any, StoredValue]],
    copies: dict[str, tuple[Range, str]] | None = None,
) -> tuple[str, list[Range]]:
    """Return the text of a checkpoint's body, and the lines that it needs.

    Args:
        numbers: `shapes.Numbers` as JSON text.
        copies: for each channel with a value that is a copy of a part of a line: the line, and the rest of the copy as JSON text.
    """
    needs = [shape]
    places = {name: place for place, name in enumerate(channels)}

    def need(wanted: Range) -> int:
        if wanted not in needs:
            needs.append(wanted)
        return needs.index(wanted)

    texts: list[str] = []
    for name, (_, stored) in values.items():
        place = places[name]
        if copies and name in copies:
            line, rest = copies[name]
            texts.append(f"[{place},3,{need(line)},{rest}]")
        elif isinstance(stored, InlineValue):
            texts.append(f"[{place},0,{stored.text}]")
        elif isinstance(stored, LineValue):
            texts.append(f"[{place},1,{need(stored.lines)}]")
        else:
            for part in stored.parts:
                need(part)
            texts.append(f"[{place},2,{dump([need(segment) for segment in stored.segments])}]")
    return f"[{FORM},0,{numbers},[{','.join(texts)}]]", needs
