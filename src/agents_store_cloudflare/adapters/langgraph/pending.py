"""The writes of tasks: their form in their checkpoint's row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from langgraph.checkpoint.base import WRITES_IDX_MAP, writes_sort_key

from agents_store_cloudflare.adapters.langgraph.copying import Copy, found_copy
from agents_store_cloudflare.adapters.langgraph.errors import ForeignValueError
from agents_store_cloudflare.adapters.langgraph.kinds import is_exactly
from agents_store_cloudflare.adapters.langgraph.known import KnownWrite, Range, Thread
from agents_store_cloudflare.adapters.langgraph.lines import MOST_LINE_BYTES, WAITING, Lines, NewLines, new_log
from agents_store_cloudflare.adapters.langgraph.shapes import dump
from agents_store_cloudflare.adapters.langgraph.text_codec import TextCodec

__all__ = ["Place", "StoredWrite", "encoded", "inline", "needs_of", "read_writes", "settled", "split", "writes_json"]

Place = tuple[str, int]
"""A task, and the number of a write within it."""

MOST_INLINE_BYTES: Final = 4_000
"""A longer write becomes a line, because the row is rewritten whenever another task of its checkpoint ends."""

LEAST_REFERRED: Final = 60
PATH: Final = "p"


@dataclass(frozen=True, slots=True)
class StoredWrite:
    """One stored write from the database."""

    task_id: str
    index: int
    path: str
    channel: str
    expression: Any

    def text(self, lines: Lines, thread: Thread) -> str:
        """Return the value's text.

        Raises:
            ForeignValueError: the write is no expression of this version, or its lines are gone.
        """
        match self.expression:
            case str() as text:
                return text
            case [str() as log, int() as first, int() as end]:
                return lines.line(thread, Range(log, first, end))
            case [str() as log, int() as first, int() as end, *copied] if len(copied) == 4:
                where = Range(log, first, end)
                return Copy(where, *cast("tuple[int, int, str, str]", tuple(copied))).text(lines.line(thread, where))
            case {"l": [str() as log, int() as first, int() as end]}:
                return f"[{','.join(lines.elements(thread, Range(log, first, end)))}]"
            case _:
                raise ForeignValueError(
                    f"a write of task {self.task_id!r} in thread {thread[0]!r} does not have the form of this version"
                )

    def needs(self) -> tuple[Range, ...]:
        """Return the lines that the expression needs."""
        match self.expression:
            case {"l": [str() as log, int() as first, int() as end]} | [str() as log, int() as first, int() as end, *_]:
                return (Range(log, first, end),)
            case _:
                return ()


def encoded(writes: Sequence[tuple[str, Any]], task_id: str, path: str, codec: TextCodec) -> dict[Place, KnownWrite]:
    """Return the writes of one call by their places. Special channels have places of their own."""
    found: dict[Place, KnownWrite] = {}
    for number, (channel, value) in enumerate(writes):
        is_list = codec.joins_lists and is_exactly(value, list) and value
        elements = [codec.dump(each) for each in value] if is_list else None
        text = codec.dump(value) if elements is None else f"[{','.join(elements)}]"
        found[(task_id, WRITES_IDX_MAP.get(channel, number))] = KnownWrite(path, channel, text, elements)
    return found


def inline(writes: Mapping[Place, KnownWrite], lines: NewLines) -> dict[Place, KnownWrite]:
    """Return the stored form of writes while their checkpoint has no child: short writes are in the row, long writes are lines."""
    log, made = new_log(WAITING), dict[Place, KnownWrite]()
    for place, write in writes.items():
        if len(write.text.encode()) <= MOST_INLINE_BYTES:
            made[place] = replace(write, expression=dump(write.text))
        else:
            is_long = len(write.text.encode()) > MOST_LINE_BYTES
            where = lines.add_long(write.text, new_log(WAITING)) if is_long else lines.add(log, 0, [write.text])
            made[place] = replace(write, expression=dump(list(where)), needs=(where,))
    return made


def settled(writes: Mapping[Place, KnownWrite], fresh: Mapping[str, Range]) -> dict[Place, KnownWrite]:
    """Return the stored form of writes when their checkpoint has a child: they refer to the child's lines where these hold the same
    values.
    """
    return {place: _settled(write, fresh) for place, write in writes.items()}


def _settled(write: KnownWrite, fresh: Mapping[str, Range]) -> KnownWrite:
    is_referring = any(not need.log.startswith(WAITING) for need in write.needs)
    if len(write.text) < LEAST_REFERRED or is_referring or not fresh:
        return write
    if write.elements is not None and (run := _run_of(write.elements, fresh)) is not None:
        return replace(write, expression=dump({"l": list(run)}), needs=(run,))
    if (where := fresh.get(write.text)) is not None:
        return replace(write, expression=dump(list(where)), needs=(where,))
    if (copy := found_copy(write.text, fresh)) is not None:
        return replace(write, expression=dump([*copy.line, *copy[1:]]), needs=(copy.line,))
    return write


def _run_of(elements: Sequence[str], fresh: Mapping[str, Range]) -> Range | None:
    """Return the range of lines of the elements, or None if the lines do not follow one another."""
    places = [fresh.get(each) for each in elements]
    first = places[0]
    if first is None:
        return None
    expected = [Range(first.log, first.first + n, first.first + n + 1) for n in range(len(elements))]
    return Range(first.log, first.first, first.first + len(elements)) if places == expected else None


def split(writes: Mapping[Place, KnownWrite]) -> tuple[dict[Place, KnownWrite], dict[Place, KnownWrite]]:
    """Return two groups: the writes that leave a stored write unchanged, and the writes that replace it."""
    yields = {place: each for place, each in writes.items() if place[1] >= 0}
    return yields, {place: each for place, each in writes.items() if place[1] < 0}


def writes_json(writes: Mapping[Place, KnownWrite]) -> str:
    """Return the column of a row: an object of tasks, each an object of its writes."""
    tasks: dict[str, list[str]] = {}
    for (task_id, number), write in writes.items():
        parts = tasks.setdefault(task_id, [f'"{PATH}":{dump(write.path)}'] if write.path else [])
        parts.append(f'"{number}":[{dump(write.channel)},{write.expression}]')
    return "{" + ",".join(dump(task) + ":{" + ",".join(parts) + "}" for task, parts in tasks.items()) + "}"


def read_writes(text: str | None) -> list[StoredWrite]:
    """Return the writes of a row, in the order in which a run applies them.

    Raises:
        ForeignValueError: they do not have the form of this version.
    """
    if text is None:
        return []
    found: list[StoredWrite] = []
    try:
        tasks: dict[str, dict[str, Any]] = json.loads(text)
        for task_id, parts in tasks.items():
            path = parts.get(PATH, "")
            found += [
                StoredWrite(task_id, int(number), path, each[0], each[1])
                for number, each in parts.items()
                if number != PATH
            ]
    except (ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        raise ForeignValueError(
            f"the writes of a checkpoint do not have the form of this version: {error!r}"
        ) from error
    return sorted(found, key=lambda write: writes_sort_key(write.path, write.task_id, write.index))


def needs_of(writes: Iterable[KnownWrite]) -> list[Range]:
    """Return the lines that writes need, each once."""
    return list(dict.fromkeys(need for write in writes for need in write.needs))
