"""The file format of copies: JSON lines. docs/command.md describes it.

A file begins with an `export` line. A session begins with its `session` line, a tree of budgets with its `budgets` line. Each ends
with its `end` line, which has the number of lines in between and a digest of them. The last line of the file is an `end` line with
the number of sessions and trees, so that a file that was cut off between two of them is seen.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, TypeAlias, cast

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.migrations import CURRENT_SCHEMA_VERSION
from agents_store_cloudflare.transfer.budgets import BUDGET_TABLES
from agents_store_cloudflare.transfer.copies import FORMAT, check_format
from agents_store_cloudflare.transfer.tables import TABLES

__all__ = ["Copy", "LineWriter", "copies_of", "lines_of"]

OF_A_SESSION: Final = ("message", "checkpoint", "run", "reference", "stagedChange", "usage", "row", "stream", "chunks")
"""The kinds of lines between a session's first and last line. The records from `checkpoint` to `usage` are only for people to read."""

OF_BUDGETS: Final = ("row",)

Copy: TypeAlias = dict[str, Any]
"""A `SessionCopy`, or a `BudgetCopy`, which has a `root`."""


def _text(item: Mapping[str, Any]) -> str:
    # Plain ASCII: it passes through every terminal, editor and pipe unchanged.
    return json.dumps(item, allow_nan=False).replace("\x7f", r"\u007f")


class LineWriter:
    """Makes the lines of a file, one session or tree of budgets after the other."""

    def __init__(self) -> None:
        self._own: dict[str, str] = {}
        self._kinds: Sequence[str] = ()
        self._digest = sha256()
        self._counts: Counter[str] = Counter()
        self._copies = 0

    def head(self, now_ms: int) -> str:
        """Return the first line of a file."""
        return _text({"type": "export", "format": FORMAT, "schema": CURRENT_SCHEMA_VERSION, "at": now_ms})

    def begin(self, session_id: str, state: Mapping[str, Any] | None) -> str:
        """Return the first line of a session. `state` is for people. It is None for the remains of a deleted session."""
        return self._begun({"sessionId": session_id}, OF_A_SESSION, {"type": "session", "state": state})

    def begin_budgets(self, root: str) -> str:
        """Return the first line of a tree of budgets."""
        return self._begun({"root": root}, OF_BUDGETS, {"type": "budgets"})

    def line(self, kind: str, **facts: object) -> str:
        """Return a line between the first and the last line."""
        self._counts[kind] += 1
        return self._said({"type": kind, **self._own, **facts})

    def end(self, *, changed: bool = False) -> str:
        """Return the last line of a session or a tree."""
        counts = {kind: self._counts[kind] for kind in self._kinds}
        return _text(
            {"type": "end", **self._own, "lines": counts, "changed": changed, "digest": self._digest.hexdigest()}
        )

    def tail(self) -> str:
        """Return the last line of a file."""
        return _text({"type": "end", "copies": self._copies})

    def _begun(self, own: dict[str, str], kinds: Sequence[str], facts: dict[str, Any]) -> str:
        self._own, self._kinds, self._digest, self._counts = own, kinds, sha256(), Counter()
        self._copies += 1
        return self._said({"type": facts.pop("type"), **own, **facts})

    def _said(self, item: Mapping[str, Any]) -> str:
        text = _text(item)
        self._digest.update(text.encode() + b"\n")
        return text


def lines_of(copies: Iterable[Copy], *, now_ms: int) -> Iterator[str]:
    """Yield the lines of a file that holds these copies, without line breaks."""
    writer = LineWriter()
    yield writer.head(now_ms)
    for copy in copies:
        yield writer.begin_budgets(copy["root"]) if "root" in copy else writer.begin(copy["sessionId"], None)
        for sequence, message in enumerate(copy.get("messages", ())):
            yield writer.line("message", sequence=sequence, message=message)
        for table, rows in copy["stored"].items():
            for row in rows:
                yield writer.line("row", table=table, row=row)
        for stream in copy.get("streams", ()):
            yield writer.line("stream", streamId=stream["streamId"], head=stream["head"])
            for *facts, body in stream["blocks"]:
                yield writer.line("chunks", block=facts, body=body)
        yield writer.end()
    yield writer.tail()


def copies_of(lines: Iterable[str]) -> Iterator[tuple[int, Copy]]:
    """Yield each copy of a file, of a session or of budgets, with the number of its first line.

    A copy can be checked only when its last line was read. So read all copies before you store the first.

    Raises:
        InvalidArgumentError: a line breaks the format. The message names the line.
    """
    file = _File()
    number = 0
    for number, line in enumerate(lines, 1):
        text = line.rstrip("\r\n")
        if text and (part := file.take(text, number)) is not None:
            yield part.first_line, part.copy
    file.check_over(number)


class _File:
    """The lines of a file, from its first to its last line."""

    def __init__(self) -> None:
        self._head: dict[str, Any] | None = None
        self._part: _Part | None = None
        self._first_lines: dict[tuple[str, str], int] = {}
        self._is_over = False

    def take(self, text: str, number: int) -> _Part | None:
        """Take a line. Return the session or the tree of budgets that ends with it."""
        item, part = _object(text, number), self._part
        if self._head is None:
            self._head = _checked_head(item)
        elif self._is_over:
            raise InvalidArgumentError(
                f"line {number}: it comes after the last line of an export; import each file by itself"
            )
        elif part is not None:
            if part.take(item, text, number):
                self._part = None
                return part
        elif item.get("type") == "end":
            self._take_tail(item, number)
        else:
            self._part = self._begun(_Part(self._head, item, text, number))
        return None

    def check_over(self, number: int) -> None:
        """Check that the last line of the file was the last line of an export."""
        if self._head is None:
            raise InvalidArgumentError("line 1: the file is empty")
        if self._part is not None:
            raise InvalidArgumentError(f"line {number}: the file ends within {self._part}")
        if not self._is_over:
            raise InvalidArgumentError(
                f"line {number}: the file ends without its last line, so sessions may be missing; export again"
            )

    def _begun(self, part: _Part) -> _Part:
        if (first := self._first_lines.setdefault(part.name, part.first_line)) != part.first_line:
            raise InvalidArgumentError(f"line {part.first_line}: {part} stands in line {first} already")
        return part

    def _take_tail(self, item: Mapping[str, Any], number: int) -> None:
        if (stated := item.get("copies")) != len(self._first_lines):
            raise InvalidArgumentError(
                f"line {number}: the export had {stated!r:.100} sessions and trees of budgets, the file has {len(self._first_lines)}"
            )
        self._is_over = True


def _object(text: str, number: int) -> dict[str, Any]:
    try:
        item = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"line {number}: no JSON: {error}") from None
    if not isinstance(item, dict):
        raise InvalidArgumentError(f"line {number}: no JSON object")
    return cast("dict[str, Any]", item)


def _checked_head(item: dict[str, Any]) -> dict[str, Any]:
    if item.get("type") != "export":
        raise InvalidArgumentError("line 1: it is no `export` line; the file is no export")
    try:
        check_format(item)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"line 1: {error}") from None
    return item


class _Part:
    """The lines of one session or tree of budgets."""

    def __init__(self, head: Mapping[str, Any], item: Mapping[str, Any], text: str, number: int) -> None:
        kind = item.get("type")
        key = {"session": "sessionId", "budgets": "root"}.get(kind) if isinstance(kind, str) else None
        if key is None or not isinstance(item.get(key), str):
            raise InvalidArgumentError(f"line {number}: neither a session nor a tree of budgets begins here")
        self.first_line = number
        self.name = (key, cast("str", item[key]))
        self._kinds: Sequence[str] = OF_A_SESSION if kind == "session" else OF_BUDGETS
        tables: Iterable[str] = TABLES if kind == "session" else BUDGET_TABLES
        self.copy: Copy = {"format": head["format"], "schema": head["schema"], key: item[key]}
        self.copy["stored"] = {table: [] for table in tables}
        if kind == "session":
            self.copy["messages"] = []
        self._counts: Counter[str] = Counter()
        self._digest = sha256(text.encode() + b"\n")

    def __str__(self) -> str:
        key, name = self.name
        return f"{'session' if key == 'sessionId' else 'budgets of'} {name!r}"

    def take(self, item: Mapping[str, Any], text: str, number: int) -> bool:
        """Take a line. Return whether it was the last line."""
        kind, (key, name) = cast("str", item.get("type")), self.name
        if item.get(key) != name:
            raise InvalidArgumentError(f"line {number}: it does not belong to {self}, as the lines before it")
        if kind == "end":
            self._check_end(item, number)
            return True
        if kind not in self._kinds:
            raise InvalidArgumentError(f"line {number}: {kind!r:.100} is no line of this format here")
        self._counts[kind] += 1
        self._digest.update(text.encode() + b"\n")
        if kind == "message":
            self._take_message(item, number)
        elif kind == "row":
            self._take_row(item, number)
        elif kind in ("stream", "chunks"):
            self._take_stream(item, number)
        return False

    def _take_message(self, item: Mapping[str, Any], number: int) -> None:
        messages: list[object] = self.copy["messages"]
        if item.get("sequence") != len(messages) or not isinstance(item.get("message"), dict):
            raise InvalidArgumentError(f"line {number}: it is not message {len(messages)} of the session")
        messages.append(item["message"])

    def _take_row(self, item: Mapping[str, Any], number: int) -> None:
        table = item.get("table")
        if not isinstance(table, str) or table not in self.copy["stored"] or not isinstance(item.get("row"), dict):
            raise InvalidArgumentError(f"line {number}: it is no row of a table that belongs to {self}")
        self.copy["stored"][table].append(item["row"])

    def _take_stream(self, item: Mapping[str, Any], number: int) -> None:
        streams: list[dict[str, Any]] = self.copy.setdefault("streams", [])
        if item["type"] == "stream":
            streams.append({"streamId": item.get("streamId"), "head": item.get("head"), "blocks": []})
        elif streams and isinstance(item.get("block"), list):
            streams[-1]["blocks"].append([*item["block"], item.get("body")])
        else:
            raise InvalidArgumentError(f"line {number}: they are no chunks of a stream of the session")

    def _check_end(self, item: Mapping[str, Any], number: int) -> None:
        where = f"line {number}: "
        if item.get("changed"):
            raise InvalidArgumentError(f"{where}{self} changed while it was exported; export it again")
        if item.get("lines") != {kind: self._counts[kind] for kind in self._kinds}:
            raise InvalidArgumentError(f"{where}the end counts another number of lines than there are")
        if item.get("digest") != self._digest.hexdigest():
            raise InvalidArgumentError(
                f"{where}lines {self.first_line} to {number - 1} were changed; use a file that nobody has changed"
            )
