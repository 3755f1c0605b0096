"""What a store with `item_check` has read: which write made each item."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["MOST_FLYING", "MOST_ITEMS", "Expected", "Name", "SeenItems"]

Name = tuple[str, str]
"""The stored namespace, and the key."""

Expected = tuple[str, str, list[str]]
"""The stored namespace, the key, and the writes of which one must be the item's last; "" for no item."""

MOST_ITEMS: Final = 10_000
"""The number of items that a store remembers. The one that was touched longest ago is forgotten first, and is not checked any more."""

MOST_FLYING: Final = 16
"""The number of a store's own writes of one item that are remembered while their outcome is not known."""


@dataclass(slots=True)
class _Seen:
    # The write that was read, or this store's own last one; None where neither is known.
    write_id: str | None = None
    # The newest of the store's own writes whose outcome is not known.
    flying: list[str] = field(default_factory=list[str])
    # When the store last began or finished a write of its own.
    own_at: int = 0


class SeenItems:
    """The writes that a store has seen last, and its own writes that are on their way."""

    def __init__(self) -> None:
        self._items: dict[Name, _Seen] = {}
        self._moment = 0

    def moment(self) -> int:
        """Name the moment at which a read is sent."""
        return self._moment

    def see(self, name: Name, write_id: str, sent: int) -> None:
        """Note which write made an item that was read, "" where the item is not there.

        Args:
            sent: the moment at which the read was sent. A write of this store's own since then is newer than the answer.
        """
        item = self._touch(name)
        if item.own_at <= sent:
            item.write_id = write_id

    def expected(self, names: Iterable[Name]) -> list[Expected]:
        """Of the items that are known: namespace, key, and the writes of which one must still be the last."""
        known = [(name, self._items[name]) for name in names if name in self._items]
        return [(*name, [item.write_id, *item.flying]) for name, item in known if item.write_id is not None]

    def begin(self, writes: Mapping[Name, str]) -> None:
        """This store's own writes are sent: the name of the write of each item, "" where it deletes the item."""
        self._moment += 1
        for name, write_id in writes.items():
            item = self._touch(name)
            item.flying = [*item.flying, write_id][-MOST_FLYING:]
            item.own_at = self._moment

    def end(self, writes: Mapping[Name, str], *, is_stored: bool) -> None:
        """They were stored, or refused."""
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
