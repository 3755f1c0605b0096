"""Texts for people: visible control characters, cut texts, times, spans, money and counts."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Final

__all__ = ["age", "clock", "cut", "dollars", "one_line", "pretty_json", "visible"]

CUT_AT: Final = 4_000
"""The number of characters of a long text that a page shows."""

# Control characters except the line break and the tab, marks that change the direction of text, invisible characters, lone
# surrogates.
_UNSAFE: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb]"
)
_SPANS: Final = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))


def visible(text: str) -> str:
    """Return the text with visible signs for the characters that a browser would hide or obey, such as ANSI's escape or a change of
    direction.
    """
    return _UNSAFE.sub(lambda found: _shown(found[0]), text)


def _shown(character: str) -> str:
    number = ord(character)
    if number < 0x20:
        return chr(0x2400 + number)  # the visible sign of the control character
    return "\u2421" if number == 0x7F else f"\u27e8U+{number:04X}\u27e9"


def one_line(text: str, limit: int = 120) -> str:
    """Return the beginning of the text on one line."""
    line = " ".join(text[: limit * 4].split())
    return line if len(line) <= limit and len(text) <= limit * 4 else f"{line[:limit]}…"


def cut(text: str, limit: int = CUT_AT) -> tuple[str, bool]:
    """Return the shown part of a text, and whether the text was cut."""
    return (text, False) if len(text) <= limit else (text[:limit], True)


def pretty_json(value: object) -> str:
    """Return the value as JSON for people, one member on each line."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def clock(at_ms: int | None) -> str:
    """Return the time in UTC to the second, or the number itself if it is outside the calendar."""
    if at_ms is None:
        return ""
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return str(at_ms)


def age(since_ms: int | None, now_ms: int) -> str:
    """Return the time since then in its largest unit: `3 min`, or `in 3 min` for a future time."""
    if since_ms is None:
        return ""
    span = now_ms - since_ms
    size = abs(span)
    number, unit = next(((size // length, name) for length, name in _SPANS if size >= length), (0, "s"))
    return f"{number:,} {unit}" if span >= 0 else f"in {number:,} {unit}"


def dollars(micros: int) -> str:
    """Return millionths of a dollar as dollars: to the cent, or to the last digit below a cent."""
    sign, size = ("-", -micros) if micros < 0 else ("", micros)
    whole, rest = divmod(size, 1_000_000)
    digits = f"{rest:06d}"
    return f"{sign}${whole:,}.{digits[:2] if not digits[2:].strip('0') else digits.rstrip('0')}"
