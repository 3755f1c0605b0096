"""The command's output: no control characters from the data, JSON in plain ASCII, aligned tables."""

from __future__ import annotations

import json
import re
import shutil
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime

__all__ = ["json_text", "print_table", "printable", "shortened", "terminal_columns", "time_text"]

ELLIPSIS = "…"
WIDEST_CELL = 40

# Control characters, marks that change the direction of text, line separators, invisible characters, lone surrogates.
_UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb]"
)
_NAMED = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def printable(text: str) -> str:
    """Return the text on one line. A character that would move the cursor or turn the text around becomes an escape."""
    return _UNSAFE.sub(lambda found: _escape(found[0]), text)


def _escape(character: str) -> str:
    number = ord(character)
    return _NAMED.get(character) or (f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}")


def json_text(value: object) -> str:
    """Return the exact JSON of the value on one line of ASCII. Every terminal shows it in the same way."""
    return json.dumps(value, allow_nan=False).replace("\x7f", r"\u007f")


def time_text(at_ms: int | None) -> str:
    """Return the time in UTC to the second. A time outside the calendar is shown as its number."""
    if at_ms is None:
        return ""
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return str(at_ms)


def terminal_columns() -> int:
    """Return the width of a line; 100 if the terminal's width is unknown."""
    return shutil.get_terminal_size((100, 24)).columns


def shortened(text: str, columns: int) -> str:
    """Return the printable text, cut to this number of columns."""
    # More characters cannot fit, and a message may have millions.
    shown = printable(text[: columns * 4 + 1])
    if _width(shown) <= columns and len(text) <= columns * 4:
        return shown
    kept = ""
    room = max(columns, 2) - len(ELLIPSIS)
    for character in shown:
        room -= _width(character)
        if room < 0:
            break
        kept += character
    return kept + ELLIPSIS


def _width(text: str) -> int:
    """Return the width of a text in columns. A wide character has two. A character that combines with the character before has none."""
    return sum(
        0 if unicodedata.combining(character) else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )


def print_table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under their headings. Numbers are aligned to the right. Long texts are cut."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(headings, *cells, strict=True)]
    numeric = [bool(rows) and all(isinstance(row[index], int) for row in rows) for index, _ in enumerate(headings)]
    for line in (headings, *cells):
        padded = (_pad(cell, width, right=right) for cell, width, right in zip(line, widths, numeric, strict=True))
        print("  ".join(padded).rstrip())


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return shortened(str(value), WIDEST_CELL)


def _pad(cell: str, width: int, *, right: bool) -> str:
    room = " " * (width - _width(cell))
    return room + cell if right else cell + room
