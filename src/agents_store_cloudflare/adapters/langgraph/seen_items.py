"""The items that a store with `item_check` has read, each with the name of the write that made it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["MOST_FLYING", "MOST_ITEMS", "Expected", "Name", "SeenItems"]

Name = tuple[str, str]
"""The stored namespace and the key of an item."""

Expected = tuple[str, str, list[str]]
"""The stored namespace, the key, and the allowed last writes of the item; "" for no item."""

MOST_ITEMS: Final = 10_000
"""The number of items that a store remembers. The least recently used item is forgotten first, and is no longer checked."""

MOST_FLYING: Final = 16
"""The number of a store's own writes of one item that are remembered while their outcome is unknown."""


@dataclass(slots=True)
class _Seen:
    # The write that was read, or this store's own last write; None if neither is known.
    write_id: str | None = None
    # The newest of the store's own writes with an unknown outcome.
    flying: list[str] = field(default_factory=list[str])
    # The moment at which the store last began or finished a write of its own.
    own_at: int = 0


class SeenItems:
    """The last writes that a store has seen, and its own writes with an unknown outcome."""

    def __init__(self) -> None:
        self._items: dict[Name, _Seen] = {}
        self._moment = 0

    def moment(self) -> int:
        """Name the moment at which a read is sent."""
        return self._moment

    def see(self, name: Name, write_id: str, sent: int) -> None:
        """Note the write that made an item that was read; "" if the item does not exist.

        Args:
            sent: the moment at which the read was sent. Later writes of this store are newer than the answer.
        """
        item = self._touch(name)
        if item.own_at <= sent:
            item.write_id = write_id

    def expected(self, names: Iterable[Name]) -> list[Expected]:
        """Return the known ones of these items: namespace, key, and the allowed last writes."""
        known = [(name, self._items[name]) for name in names if name in self._items]
        return [(*name, [item.write_id, *item.flying]) for name, item in known if item.write_id is not None]

    def begin(self, writes: Mapping[Name, str]) -> None:
        """Note that this store sends writes. Each item has the name of its write, or "" if the write deletes the item."""
        self._moment += 1
        for name, write_id in writes.items():
            item = self._touch(name)
            item.flying = [*item.flying, write_id][-MOST_FLYING:]
            item.own_at = self._moment

    def end(self, writes: Mapping[Name, str], *, is_stored: bool) -> None:
        """Note that the writes were stored or refused."""
        self._moment += 1
        for name, write_id in writes.items():
            item = self._touch(name)
            if write_id in item.flying:
                item.flying.remove(write_id)
            item.own_at = self._moment
            if is_stored:
                item.write_id = write_id

    def _touch(self, name: Name) -> _Seen:
        item = self._items.pop(name, None) or _Seen()
        self._items[name] = item
        while len(self._items) > MOST_ITEMS:
            del self._items[next(iter(self._items))]
        return item
