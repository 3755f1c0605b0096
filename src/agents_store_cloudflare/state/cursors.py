"""Cursors of lists. Callers see an opaque text; it holds the kind of the list and numbers."""

from __future__ import annotations

import re
from typing import Final

from agents_store_cloudflare.contract.arguments import MAX_SAFE_INTEGER, check_text
from agents_store_cloudflare.contract.errors import InvalidArgumentError

__all__ = ["NOT_FROM_THIS_LIST", "cursor_after", "number_of", "place_of"]

NOT_FROM_THIS_LIST: Final = "cursor is not from this list; pass the next_cursor of a page unchanged"

_CURSOR = re.compile(r"([a-z]+)-([0-9a-f]{1,14})(?:-([0-9a-f]{1,14}-[0-9a-f]{1,14}))?", re.ASCII)


def cursor_after(kind: str, number: int, life: str | None = None) -> str:
    """Return the cursor of the page after the item with this number; `life` tells which session a list of a session belongs to."""
    return f"{kind}-{number:x}" if life is None else f"{kind}-{number:x}-{life}"


def number_of(cursor: str | None, kind: str) -> int:
    """Return the number below which the next page begins; without a cursor, a number above all items.

    Raises:
        InvalidArgumentError: the text is no cursor of this kind of list. This error is a ValueError.
    """
    number, life = place_of(cursor, kind)
    if life is not None:
        raise InvalidArgumentError(NOT_FROM_THIS_LIST)
    return number


def place_of(cursor: str | None, kind: str) -> tuple[int, str | None]:
    """Return what `number_of` returns, and the life that the cursor names.

    Raises:
        InvalidArgumentError: the text is no cursor of this kind of list.
    """
    if cursor is None:
        return MAX_SAFE_INTEGER, None
    found = _CURSOR.fullmatch(check_text(cursor, "cursor", empty=True))
    if found is None or found[1] != kind or int(found[2], 16) > MAX_SAFE_INTEGER:
        raise InvalidArgumentError(NOT_FROM_THIS_LIST)
    return int(found[2], 16), found[3]
