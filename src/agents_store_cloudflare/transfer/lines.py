"""The file format of copies: JSON lines. docs/backup.md describes it.

A file begins with an `export` line. A session begins with its `session` line and ends with its `end` line, which counts the lines
between and holds a digest of all of them. Lines of kinds that the import does not need are for people.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any, Final, cast

from agents_store_cloudflare.contract.errors import InvalidArgumentError
from agents_store_cloudflare.migrations import CURRENT_SCHEMA_VERSION
from agents_store_cloudflare.transfer.copies import FORMAT, SessionCopy, check_format
from agents_store_cloudflare.transfer.tables import TABLES

__all__ = ["LineWriter", "copies_of", "lines_of"]

OF_A_SESSION: Final = ("message", "checkpoint", "run", "reference", "stagedChange", "usage", "row", "stream", "chunks")
"""The kinds of lines between a session's first and last one. The records from `checkpoint` to `usage` are for people alone."""


def _text(item: Mapping[str, Any]) -> str:
    # Plain ASCII: it passes through every terminal, editor and pipe unchanged.
    return json.dumps(item, allow_nan=False).replace("\x7f", r"\u007f")


class LineWriter:
    """The lines of a file, one session after the other."""

    def __init__(self) -> None:
        self._session_id = ""
        self._digest = sha256()
        self._counts: Counter[str] = Counter()

    def head(self, now_ms: int) -> str:
        """The first line of a file."""
        return _text({"type": "export", "format": FORMAT, "schema": CURRENT_SCHEMA_VERSION, "at": now_ms})

    def begin(self, session_id: str, state: Mapping[str, Any] | None) -> str:
        """The first line of a session. `state` is for people."""
        self._session_id, self._digest, self._counts = session_id, sha256(), Counter()
        return self._said({"type": "session", "sessionId": session_id, "state": state})

    def line(self, kind: str, **facts: object) -> str:
        """A line between a session's first and last one."""
        self._counts[kind] += 1
        return self._said({"type": kind, "sessionId": self._session_id, **facts})

    def end(self, *, changed: bool = False) -> str:
        """The last line of a session."""
        return _text(
            {
                "type": "end",
                "sessionId": self._session_id,
                "lines": {kind: self._counts[kind] for kind in OF_A_SESSION},
                "changed": changed,
                "digest": self._digest.hexdigest(),
            }
        )

    def _said(self, item: Mapping[str, Any]) -> str:
        text = _text(item)
        self._digest.update(text.encode() + b"\n")
        return text


def lines_of(copies: Iterable[SessionCopy], *, now_ms: int) -> Iterator[str]:
    """The lines of a file that holds these copies, without line breaks."""
    writer = LineWriter()
    yield writer.head(now_ms)
    for copy in copies:
        yield writer.begin(copy["sessionId"], None)
        for sequence, message in enumerate(copy["messages"]):
            yield writer.line("message", sequence=sequence, message=message)
        for table, rows in copy["stored"].items():
            for row in rows:
                yield writer.line("row", table=table, row=row)
        for stream in copy.get("streams", ()):
            yield writer.line("stream", streamId=stream["streamId"], head=stream["head"])
            for *facts, body in stream["blocks"]:
                yield writer.line("chunks", block=facts, body=body)
        yield writer.end()


def copies_of(lines: Iterable[str]) -> Iterator[tuple[int, SessionCopy]]:
    """Yield each copy of a file with the number of its first line.

    Nothing is known of a session before its last line: take all copies before you store the first one.

    Raises:
        InvalidArgumentError: a line is not what the format says; the line is named.
    """
    head: dict[str, Any] | None = None
    session: _Session | None = None
    first_lines: dict[str, int] = {}
    number = 0
    for number, line in enumerate(lines, 1):
        text = line.rstrip("\r\n")
        if not text:
            continue
        item = _object(text, number)
        if head is None:
            head = _checked_head(item)
        elif session is None:
            session = _Session(head, item, text, number)
            if (first := first_lines.setdefault(item["sessionId"], number)) != number:
                raise InvalidArgumentError(
                    f"line {number}: session {item['sessionId']!r} stands in line {first} already"
                )
        elif session.take(item, text, number):
            yield session.first_line, session.copy
            session = None
    if head is None:
        raise InvalidArgumentError("line 1: the file is empty")
    if session is not None:
        raise InvalidArgumentError(f"line {number}: the file ends within session {session.copy['sessionId']!r}")


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


class _Session:
    """The lines of one session, from its first to its last one."""

    def __init__(self, head: Mapping[str, Any], item: Mapping[str, Any], text: str, number: int) -> None:
        if item.get("type") != "session" or not isinstance(item.get("sessionId"), str):
            raise InvalidArgumentError(f"line {number}: a session begins with its `session` line")
        self.first_line = number
        self.copy: SessionCopy = {
            "format": head["format"],
            "schema": head["schema"],
            "sessionId": item["sessionId"],
            "stored": {table: [] for table in TABLES},
            "messages": [],
        }
        self._counts: Counter[str] = Counter()
        self._digest = sha256(text.encode() + b"\n")

    def take(self, item: Mapping[str, Any], text: str, number: int) -> bool:
        """Take a line. Return whether it was the last one."""
        kind = item.get("type")
        if item.get("sessionId") != self.copy["sessionId"]:
            raise InvalidArgumentError(f"line {number}: it belongs to another session than the lines before it")
        if kind == "end":
            self._check_end(item, number)
            return True
        if kind not in OF_A_SESSION:
            raise InvalidArgumentError(f"line {number}: {kind!r:.100} is no line of this format")
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
        if table not in self.copy["stored"] or not isinstance(item.get("row"), dict):
            raise InvalidArgumentError(f"line {number}: it is no row of a table of sessions")
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
            raise InvalidArgumentError(f"{where}the session changed while it was exported; export it again")
        if item.get("lines") != {kind: self._counts[kind] for kind in OF_A_SESSION}:
            raise InvalidArgumentError(f"{where}the end counts other lines than there are")
        if item.get("digest") != self._digest.hexdigest():
            raise InvalidArgumentError(
                f"{where}lines {self.first_line} to {number - 1} are not as they were written; take a file that nobody has changed"
            )
