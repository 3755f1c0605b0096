"""Free texts in a form that survives `wrangler d1 export` unchanged.

The export writes a raw line break as `\\n`, and the import turns each `\\n` of the text into a line break. So a text that holds both would
be changed. A NUL would end its statement. A text with such a character is stored as its JSON string. A text that begins with a quotation
mark is stored as its JSON string too, so that the two forms can be told apart. Equal texts are stored equally, so SQL can compare them.
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
    """Return a text in its stored form; None stays None."""
    if text is None or _NOT_AS_IT_IS.search(text) is None:
        return text
    return json.dumps(text, ensure_ascii=False)


@overload
def text_of(stored: str) -> str: ...


@overload
def text_of(stored: str | None) -> str | None: ...


def text_of(stored: str | None) -> str | None:
    """Return the text of a stored form; None stays None. A text that another program stored in another form is returned unchanged."""
    if stored is None or not stored.startswith(_FIRST_OF_JSON):
        return stored
    try:
        return cast("str", json.loads(stored))
    except ValueError:
        return stored
