"""Free texts in a form that `wrangler d1 export` gives back unchanged.

The export writes a raw line break as `\\n` and turns each `\\n` of the text into a line break on the way back, so a text that holds both
is changed; a NUL ends the statement that holds it. A text with such a character is stored as its JSON string. So is a text that begins
with a quotation mark: that is how the two forms are told apart. Equal texts are stored equally, so they can be compared in SQL.
"""

from __future__ import annotations

import json
import re
from typing import cast, overload

__all__ = ["stored_text", "text_of"]

_FIRST_OF_JSON = '"'
_NOT_AS_IT_IS = re.compile(r'^"|[\x00\n\r]')


@overload
def stored_text(text: str) -> str: ...


@overload
def stored_text(text: str | None) -> str | None: ...


def stored_text(text: str | None) -> str | None:
    """The text as it is stored; None stays None."""
    if text is None or _NOT_AS_IT_IS.search(text) is None:
        return text
    return json.dumps(text, ensure_ascii=False)


@overload
def text_of(stored: str) -> str: ...


@overload
def text_of(stored: str | None) -> str | None: ...


def text_of(stored: str | None) -> str | None:
    """The text that was stored. A text that somebody else stored and that is no JSON string is given back as it is."""
    if stored is None or not stored.startswith(_FIRST_OF_JSON):
        return stored
    try:
        return cast("str", json.loads(stored))
    except ValueError:
        return stored
