"""Free texts survive what `wrangler d1 export` does to a text, and come back as they were."""

import sqlite3
from contextlib import closing

import pytest

from agents_store_cloudflare.state.stored_text import stored_text, text_of

TEXTS = [
    "",
    "plain",
    "line\nline",
    r"a \n that is no line break",
    "both\n" + r"\n",
    "\r\n" + r"\r",
    "nul\0",
    '"quoted"',
    '"',
    "\u2028🎉'",
]


def exported(text: str) -> str:
    """Return the SQL expression that the export writes for a text."""
    quoted = "'" + text.replace("'", "''").replace("\n", r"\n").replace("\r", r"\r") + "'"
    if "\r" in text:
        quoted = rf"replace({quoted},'\r',char(13))"
    return rf"replace({quoted},'\n',char(10))" if "\n" in text else quoted


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_comes_back(text: str) -> None:
    """MG-11: After storing, export, import and reading, the text is the same. A text of one line is stored as it is."""
    stored = stored_text(text)
    with closing(sqlite3.connect(":memory:")) as connection:
        [imported] = connection.execute(f"SELECT {exported(stored)}").fetchone()
    assert imported == stored
    assert text_of(imported) == text


def test_texts_of_others_are_given_back() -> None:
    """A stored text that is no JSON string does not change, and neither does NULL."""
    assert text_of('"unfinished') == '"unfinished'
    assert (stored_text(None), text_of(None)) == (None, None)
