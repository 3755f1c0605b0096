"""What a saver remembers of the checkpoints that it put or read last: where their values lie, so that only new lines are stored."""

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
"""Of one thread and namespace: the newest, and what a run that goes back has read."""

MOST_THREADS: Final = 256
MARSHAL_VERSION: Final = 2
"""The last version that writes equal values equally, whoever else refers to them."""

_IMMUTABLE = frozenset({str, int, float, bool, type(None), bytes})

Thread: TypeAlias = "tuple[str, str]"
"""A thread id and a namespace."""


class Range(NamedTuple):
    """Lines of a log: from `first` up to `end`, which is not among them."""

    log: str
    first: int
    end: int


class Element(NamedTuple):
    """One element of a stored list: the object, the fingerprint of its content then, the hash of its text."""

    value: Any
    mark: int | None
    digest: int


@dataclass(frozen=True, slots=True)
class InlineValue:
    """A value that stands in the checkpoint's body."""

    text: str


@dataclass(frozen=True, slots=True)
class LineValue:
    """A value that is one line; or the parts of one that is too long for a row."""

    lines: Range


@dataclass(frozen=True, slots=True)
class ListValue:
    """A list whose elements are lines.

    Attributes:
        parts: where elements lie that are too long for a row.
    """

    segments: tuple[Range, ...]
    elements: list[Element]
    parts: tuple[Range, ...] = ()


StoredValue: TypeAlias = "InlineValue | LineValue | ListValue"


@dataclass(frozen=True, slots=True)
class KnownWrite:
    """A task's write as it is stored, or about to be.

    Attributes:
        elements: the texts of the elements of a list.
        expression: how it is stored, as JSON text; None until it is.
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
        body, refs, writes_text: the columns, as they are stored.
        values: of each channel its version, and where its value lies.
        shapes: known shapes, by their text.
        value_log: the log that takes longer values and shapes, and its end.
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
    """The newest checkpoints of the threads that were used last."""

    def __init__(self) -> None:
        self._threads: OrderedDict[Thread, OrderedDict[str, KnownCheckpoint]] = OrderedDict()
        self._heads: dict[Thread, str] = {}
        self._own: dict[Thread, list[str]] = {}

    def get(self, thread: Thread, checkpoint_id: str | None) -> KnownCheckpoint | None:
        """The checkpoint, or None."""
        return self._threads.get(thread, OrderedDict()).get(checkpoint_id or "")

    def keep(self, thread: Thread, checkpoint_id: str, known: KnownCheckpoint) -> None:
        """Remember a checkpoint; the oldest of its thread is forgotten."""
        checkpoints = self._used(thread)
        checkpoints[checkpoint_id] = known
        checkpoints.move_to_end(checkpoint_id)
        while len(checkpoints) > MOST_CHECKPOINTS:
            checkpoints.popitem(last=False)

    def head(self, thread: Thread) -> str | None:
        """Return the newest checkpoint that was seen: "" if there was none, None if nobody has looked."""
        return self._heads.get(thread)

    def see_head(self, thread: Thread, checkpoint_id: str) -> None:
        """Remember the newest checkpoint."""
        self._used(thread)
        self._heads[thread] = checkpoint_id

    def put_begins(self, thread: Thread, checkpoint_id: str) -> None:
        """Remember that this saver is about to put a checkpoint: it may be stored before its put returns."""
        self._used(thread)
        self._own[thread] = [*self._own.get(thread, [])[1 - MOST_CHECKPOINTS :], checkpoint_id]

    def accepted_heads(self, thread: Thread) -> list[str] | None:
        """Return the checkpoints that may be the newest while nobody else has put one. Return None if nobody has looked."""
        head = self.head(thread)
        return None if head is None else [*self._own.get(thread, []), head]

    def forget(self, thread_id: str) -> None:
        """Forget all of a thread."""
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
        """The checkpoints of a thread that is in use now. The thread that was not used for longest is forgotten."""
        checkpoints = self._threads.setdefault(thread, OrderedDict())
        self._threads.move_to_end(thread)
        while len(self._threads) > MOST_THREADS:
            gone, _ = self._threads.popitem(last=False)
            self._heads.pop(gone, None)
            self._own.pop(gone, None)
        return checkpoints


def fingerprint(value: Any) -> int | None:
    """Return a number that changes with the content of the object, or None if that cannot be found cheaply.

    Somebody may change a message in place after it was stored. Marshal reads it in a tenth of the time that its JSON takes.
    """
    if type(value) in _IMMUTABLE:
        return 0
    content: Any = value
    if isinstance(value, BaseMessage):
        content = [value.__dict__, value.__pydantic_extra__]
    try:
        return hash(marshal.dumps(content, MARSHAL_VERSION))
    except ValueError:  # it holds other objects
        return None
