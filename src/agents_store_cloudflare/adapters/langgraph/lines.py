"""The lines of logs: new lines for a batch, and lines that were read."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from agents_store_cloudflare.adapters.langgraph import writing_sql
from agents_store_cloudflare.adapters.langgraph.errors import ForeignValueError
from agents_store_cloudflare.adapters.langgraph.known import Range, Thread
from agents_store_cloudflare.database import Row, Statement

__all__ = ["MOST_LINE_BYTES", "PART_MARK", "WAITING", "Lines", "NewLines", "new_log", "ranges_json"]

SEPARATOR: Final = "\t"
MOST_LINE_BYTES: Final = 1_500_000
"""A longer text is stored in parts, because D1 takes at most 2,000,000 bytes for a value and for a row."""

MOST_ROW_BYTES: Final = 500_000
"""The most bytes of lines that are stored in one row."""

PART_MARK: Final = "@"
"""The beginning of a line that refers to an element in parts. JSON never begins with it."""


WAITING: Final = "w"
"""The beginning of the names of logs that hold only writes that wait for the next checkpoint.

Such a log is dropped when nobody needs it.
"""


def new_log(kind: str = "v") -> str:
    """Return a unique name for a new log."""
    return kind + secrets.token_urlsafe(6)


def ranges_json(ranges: Iterable[Range]) -> str:
    """Return the stored form of ranges."""
    return json.dumps([list(each) for each in ranges], separators=(",", ":"))


@dataclass(slots=True)
class NewLines:
    """The lines that one batch adds, log by log."""

    added: dict[str, tuple[int, list[str]]] = field(default_factory=dict[str, "tuple[int, list[str]]"])

    def add(self, log: str, end: int, texts: Sequence[str]) -> Range:
        """Add lines at the end of a log, and return their range. `end` is the log's end before this batch."""
        start, lines = self.added.setdefault(log, (end, []))
        first = start + len(lines)
        lines.extend(texts)
        return Range(log, first, first + len(texts))

    def add_long(self, text: str, log: str) -> Range:
        """Add a text that is too long for a row, in parts, as a log of its own."""
        return self.add(log, 0, list(_parts(text)))

    def ends(self) -> dict[str, int]:
        """Return the end that each log must have before the batch."""
        return {log: start for log, (start, _) in self.added.items()}

    def statements(self, thread: Thread) -> list[Statement]:
        """Return the statements that store the lines."""
        return [
            Statement(writing_sql.APPEND_LINES, (*thread, log, first, len(lines), SEPARATOR.join(lines)))
            for log, (start, added) in self.added.items()
            for first, lines in _rows(start, added)
        ]


def _parts(text: str) -> Iterable[str]:
    content = text.encode()
    begin = 0
    while begin < len(content):
        end = min(begin + MOST_LINE_BYTES, len(content))
        while end < len(content) and content[end] & 0xC0 == 0x80:  # not inside a character
            end -= 1
        yield content[begin:end].decode()
        begin = end


def _rows(start: int, lines: Sequence[str]) -> Iterable[tuple[int, list[str]]]:
    """Yield the lines as rows of the allowed size."""
    begin = size = 0
    for index, line in enumerate(lines):
        line_bytes = len(line.encode()) + 1
        if index > begin and size + line_bytes > MOST_ROW_BYTES:
            yield start + begin, list(lines[begin:index])
            begin, size = index, 0
        size += line_bytes
    if lines:
        yield start + begin, list(lines[begin:])


class Lines:
    """The lines that were read, by thread and log."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._logs: dict[tuple[str, str, str], list[tuple[int, list[str]]]] = {}
        for session_id, ns, log, start, body in cast("Sequence[tuple[str, str, str, int, str]]", rows):
            self._logs.setdefault((session_id, ns, log), []).append((start, body.split(SEPARATOR)))

    def between(self, thread: Thread, wanted: Range) -> list[str]:
        """Return the lines of a range.

        Raises:
            ForeignValueError: some lines are missing.
        """
        found: list[str] = []
        for start, lines in self._logs.get((*thread, wanted.log), []):
            if start < wanted.end and start + len(lines) > wanted.first:
                found += lines[max(wanted.first - start, 0) : wanted.end - start]
        if len(found) != wanted.end - wanted.first:
            raise ForeignValueError(
                f"thread {thread[0]!r} lacks lines {wanted.first} to {wanted.end - 1} of log {wanted.log!r}: "
                "somebody deleted rows of __agents_graph_lines"
            )
        return found

    def line(self, thread: Thread, wanted: Range) -> str:
        """Return the text of a range: its one line, or its parts joined."""
        return "".join(self.between(thread, wanted))

    def elements(self, thread: Thread, wanted: Range) -> list[str]:
        """Return the elements of a range. Elements in parts are joined."""
        return [
            self._whole(thread, line) if line.startswith(PART_MARK) else line for line in self.between(thread, wanted)
        ]

    def parts(self, thread: Thread, wanted: Range) -> list[Range]:
        """Return the places of the elements of a range that are stored in parts."""
        return [_parts_of(line) for line in self.between(thread, wanted) if line.startswith(PART_MARK)]

    def _whole(self, thread: Thread, line: str) -> str:
        return self.line(thread, _parts_of(line))


def _parts_of(line: str) -> Range:
    return Range(*json.loads(line.removeprefix(PART_MARK)))
