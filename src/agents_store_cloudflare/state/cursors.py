"""Cursors of lists: opaque to callers, a kind and a number inside."""

from __future__ import annotations

import re

from agents_store_cloudflare.contract.arguments import MAX_SAFE_INTEGER, check_text
from agents_store_cloudflare.contract.errors import InvalidArgumentError

__all__ = ["cursor_after", "number_of"]

_CURSOR = re.compile(r"([a-z]+)-([0-9a-f]{1,14})", re.ASCII)


def cursor_after(kind: str, number: int) -> str:
    """The cursor that goes on after the item of that number."""
    return f"{kind}-{number:x}"


def number_of(cursor: str | None, kind: str) -> int:
    """The number that a list goes on below; without a cursor it is above all.

    Raises:
        InvalidArgumentError: (a ValueError) no cursor of this kind of list.
    """
    if cursor is None:
        return MAX_SAFE_INTEGER
    found = _CURSOR.fullmatch(check_text(cursor, "cursor", empty=True))
    if found is None or found[1] != kind or int(found[2], 16) > MAX_SAFE_INTEGER:
        raise InvalidArgumentError("cursor is none that this list gave; pass a page's next_cursor as it is")
    return int(found[2], 16)
