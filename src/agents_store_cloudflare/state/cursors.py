"""Cursors of lists. Callers see an opaque text; it holds the kind of the list and a number."""

from __future__ import annotations

import re

from agents_store_cloudflare.contract.arguments import MAX_SAFE_INTEGER, check_text
from agents_store_cloudflare.contract.errors import InvalidArgumentError

__all__ = ["cursor_after", "number_of"]

_CURSOR = re.compile(r"([a-z]+)-([0-9a-f]{1,14})", re.ASCII)


def cursor_after(kind: str, number: int) -> str:
    """Return the cursor of the page after the item with this number."""
    return f"{kind}-{number:x}"


def number_of(cursor: str | None, kind: str) -> int:
    """Return the number below which the next page begins; without a cursor, a number above all items.

    Raises:
        InvalidArgumentError: the text is no cursor of this kind of list. This error is a ValueError.
    """
    if cursor is None:
        return MAX_SAFE_INTEGER
    found = _CURSOR.fullmatch(check_text(cursor, "cursor", empty=True))
    if found is None or found[1] != kind or int(found[2], 16) > MAX_SAFE_INTEGER:
        raise InvalidArgumentError("cursor is not from this list; pass the next_cursor of a page unchanged")
    return int(found[2], 16)
