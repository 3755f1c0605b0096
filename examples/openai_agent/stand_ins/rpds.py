"""Stands for `rpds`, which only Pyodide's own index has: the persistent collections that `jsonschema` needs."""

from collections.abc import Iterable
from typing import Any

__all__ = ["HashTrieMap", "HashTrieSet", "List"]


class HashTrieMap(dict[Any, Any]):
    """A mapping whose changes are copies."""

    @classmethod
    def convert(cls, given: Any) -> "HashTrieMap":
        """Return the value as such a mapping."""
        return given if isinstance(given, cls) else cls(given)

    def insert(self, key: Any, value: Any) -> "HashTrieMap":
        """Return a copy with the key."""
        return type(self)({**self, key: value})

    def remove(self, key: Any) -> "HashTrieMap":
        """Return a copy without the key."""
        return type(self)({each: self[each] for each in self if each != key})

    def update(self, *others: Any, **names: Any) -> "HashTrieMap":  # type: ignore[override] # as the real one: a copy
        """Return a copy with the other's keys."""
        return type(self)({**self, **dict(*others, **names)})


class HashTrieSet(frozenset[Any]):
    """A set whose changes are copies."""

    def insert(self, value: Any) -> "HashTrieSet":
        """Return a copy with the value."""
        return type(self)(self | {value})

    def remove(self, value: Any) -> "HashTrieSet":
        """Return a copy without the value."""
        return type(self)(self - {value})

    def update(self, *others: Iterable[Any]) -> "HashTrieSet":
        """Return a copy with the others' values."""
        return type(self)(self.union(*others))


class List(tuple[Any, ...]):  # noqa: SLOT001 - as short as it can be
    """A list whose changes are copies."""

    def push_front(self, value: Any) -> "List":
        """Return a copy with the value first."""
        return type(self)((value, *self))
