"""The places of values in the checkpoints that a saver put or read last. It remembers them, so that only new lines are stored."""

from __future__ import annotations

import marshal
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

from langchain_core.messages import BaseMessage

__all__ = [
    "Element",
    "InlineValue",
    "KnownCheckpoint",
    "KnownThreads",
    "KnownWrite",
    "LineValue",
    "ListValue",
    "Range",
    "Thread",
    "fingerprint",
]

MOST_CHECKPOINTS: Final = 8
"""The most checkpoints of one thread and namespace: the newest ones, and those that a run has read to go back."""

MOST_THREADS: Final = 256
MARSHAL_VERSION: Final = 2
"""The last version that writes equal values equally. Later versions write an object differently if other references to it exist."""

_IMMUTABLE = frozenset({str, int, float, bool, type(None), bytes})

Thread: TypeAlias = "tuple[str, str]"
"""A thread id and a namespace."""


class Range(NamedTuple):
    """The lines of a log from `first` to `end` - 1."""

    log: str
    first: int
    end: int


class Element(NamedTuple):
    """One element of a stored list: the object, the fingerprint of its content when it was stored, and the hash of its text."""

    value: Any
    mark: int | None
    digest: int


@dataclass(frozen=True, slots=True)
class InlineValue:
    """A value that stands in the checkpoint's body."""

    text: str


@dataclass(frozen=True, slots=True)
class LineValue:
    """A value that is one line, or several lines if it is too long for a row."""

    lines: Range


@dataclass(frozen=True, slots=True)
class ListValue:
    """A list whose elements are lines.

    Attributes:
        parts: the places of elements that are too long for a row.
    """

    segments: tuple[Range, ...]
    elements: list[Element]
    parts: tuple[Range, ...] = ()


StoredValue: TypeAlias = "InlineValue | LineValue | ListValue"


@dataclass(frozen=True, slots=True)
class KnownWrite:
    """A write of a task, stored or about to be stored.

    Attributes:
        elements: the texts of the elements of a list.
        expression: the stored form as JSON text; None before it is stored.
        needs: the lines that the expression needs.
    """

    path: str
    channel: str
    text: str
    elements: list[str] | None
    expression: str | None = None
    needs: tuple[Range, ...] = ()


@dataclass(slots=True)
class KnownCheckpoint:
    """A stored checkpoint.

    Attributes:
        body, refs, writes_text: the stored columns.
        values: each channel with its version and the place of its value.
        shapes: the known shapes by their text.
        value_log: the log for longer values and shapes, and its end.
    """

    body: str
    refs: str
    shape: Range
    channels: list[str]
    numbers: str
    values: dict[str, tuple[Any, StoredValue]]
    shapes: dict[str, Range]
    value_log: tuple[str, int] | None
    writes_text: str | None = None
    writes: dict[tuple[str, int], KnownWrite] = field(default_factory=dict[tuple[str, int], KnownWrite])


class KnownThreads:
    """The newest known checkpoints of the threads that were used last."""

    def __init__(self) -> None:
        self._threads: OrderedDict[Thread, OrderedDict[str, KnownCheckpoint]] = OrderedDict()
        self._heads: dict[Thread, str] = {}
        self._own: dict[Thread, list[str]] = {}

    def get(self, thread: Thread, checkpoint_id: str | None) -> KnownCheckpoint | None:
        """Return the checkpoint, or None."""
        return self._threads.get(thread, OrderedDict()).get(checkpoint_id or "")

    def keep(self, thread: Thread, checkpoint_id: str, known: KnownCheckpoint) -> None:
        """Remember a checkpoint. If its thread has too many, forget the oldest."""
        checkpoints = self._used(thread)
        checkpoints[checkpoint_id] = known
        checkpoints.move_to_end(checkpoint_id)
        while len(checkpoints) > MOST_CHECKPOINTS:
            checkpoints.popitem(last=False)

    def head(self, thread: Thread) -> str | None:
        """Return the newest seen checkpoint: "" if there was none, None if this saver has not looked."""
        return self._heads.get(thread)

    def see_head(self, thread: Thread, checkpoint_id: str) -> None:
        """Remember the newest checkpoint."""
        self._used(thread)
        self._heads[thread] = checkpoint_id

    def put_begins(self, thread: Thread, checkpoint_id: str) -> None:
        """Remember that this saver begins to put a checkpoint, because it may be stored before the put returns."""
        self._used(thread)
        self._own[thread] = [*self._own.get(thread, [])[1 - MOST_CHECKPOINTS :], checkpoint_id]

    def accepted_heads(self, thread: Thread) -> list[str] | None:
        """Return the checkpoints that may be the newest if nobody else has put one. Return None if this saver has not looked."""
        head = self.head(thread)
        return None if head is None else [*self._own.get(thread, []), head]

    def forget(self, thread_id: str) -> None:
        """Forget all checkpoints of a thread."""
        for thread in [each for each in {*self._threads, *self._heads, *self._own} if each[0] == thread_id]:
            self._threads.pop(thread, None)
            self._heads.pop(thread, None)
            self._own.pop(thread, None)

    def forget_all(self) -> None:
        """Forget everything."""
        self._threads.clear()
        self._heads.clear()
        self._own.clear()

    def _used(self, thread: Thread) -> OrderedDict[str, KnownCheckpoint]:
        """Return the known checkpoints of a thread. If there are too many threads, forget the least recently used."""
        checkpoints = self._threads.setdefault(thread, OrderedDict())
        self._threads.move_to_end(thread)
        while len(self._threads) > MOST_THREADS:
            gone, _ = self._threads.popitem(last=False)
            self._heads.pop(gone, None)
            self._own.pop(gone, None)
        return checkpoints


def fingerprint(value: Any) -> int | None:
    """Return a number that changes with the content of the object, or None if that cannot be found cheaply.

    The caller may change a message in place after it was stored. Marshal takes a tenth of the time of JSON.
    """
    if type(value) in _IMMUTABLE:
        return 0
    content: Any = value
    if isinstance(value, BaseMessage):
        content = [value.__dict__, value.__pydantic_extra__]
    try:
        return hash(marshal.dumps(content, MARSHAL_VERSION))
    except ValueError:  # it holds objects that marshal cannot write
        return None
