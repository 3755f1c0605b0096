"""Writes tables as CSV in which no spreadsheet finds formulas."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

__all__ = ["csv_text"]

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def csv_text(headings: Sequence[str], rows: Iterable[Sequence[str | int]]) -> str:
    """Return a table as CSV (RFC 4180). A text that a spreadsheet would compute gets an apostrophe in front. Numbers stay unchanged."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\r\n")
    writer.writerow(headings)
    for row in rows:
        writer.writerow([_harmless(cell) if isinstance(cell, str) else cell for cell in row])
    return written.getvalue()


def _harmless(text: str) -> str:
    # Spreadsheets skip white space in front of a formula.
    return f"'{text}" if text.startswith(_FORMULA) or text.lstrip().startswith(_FORMULA) else text
