"""`import`: the sessions of an export, stored again whole."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from agents_store_cloudflare.command.failure import CommandError
from agents_store_cloudflare.command.opening import open_database
from agents_store_cloudflare.command.parsers import Commands, add_command
from agents_store_cloudflare.command.text import json_text, printable
from agents_store_cloudflare.contract.errors import InvalidArgumentError, SessionExistsError
from agents_store_cloudflare.transfer import FORMAT, import_session

__all__ = ["add_parser"]

_COUNTED = ("message", "checkpoint", "run", "reference", "stagedChange", "usage")


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "import", _run, help="store the sessions of an export")
    parser.add_argument("file", type=Path, metavar="FILE", help="what `export` wrote; - reads standard input")
    parser.add_argument("--replace", action="store_true", help="replace sessions that exist")


async def _run(options: argparse.Namespace) -> int:
    text = sys.stdin.read() if str(options.file) == "-" else options.file.read_text(encoding="utf-8")
    copies = list(_copies(text))  # the whole file is checked before anything is stored
    with open_database(options, read_only=False) as opened:
        await opened.check_schema()
        if not options.replace:
            for line, copy in copies:
                if await opened.states.exists(copy["sessionId"]):
                    raise CommandError(f"line {line}: {SessionExistsError(copy['sessionId'])}; --replace replaces it")
        for line, copy in reversed(copies):  # an export begins with the newest, and lists show the order of creation
            try:
                await import_session(opened.database, copy, replace=options.replace)
            except (InvalidArgumentError, SessionExistsError, TypeError) as error:
                raise CommandError(f"line {line}: {error}") from error
            if not options.json:
                print(printable(f"imported {copy['sessionId']}"))
    if options.json:
        print(json_text({"imported": [copy["sessionId"] for _, copy in copies]}))
    return 0


def _copies(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each session of the export with the number of its first line.

    Raises:
        CommandError: a line is not what the format says; the line is named.
    """
    begun, lines = 0, [line for line in text.split("\n") if line]
    session: list[dict[str, Any]] = []
    _check_head(_object(lines[0], 1) if lines else {})
    for number, line in enumerate(lines[1:], 2):
        item = _object(line, number)
        kind = item.get("type")
        if (kind == "session") == bool(session):
            raise CommandError(f"line {number}: a session begins with its `session` line and ends with its `end` line")
        if kind not in {"session", "end", *_COUNTED}:
            raise CommandError(f"line {number}: {kind!r} is no line of this format")
        if kind == "session":
            begun = number
        elif item.get("sessionId") != session[0].get("sessionId"):
            raise CommandError(f"line {number}: it belongs to another session than the lines before it")
        session.append(item)
        if kind == "end":
            yield begun, _copy(session, number)
            session = []
    if session:
        raise CommandError(f"line {len(lines)}: the file ends within session {session[0].get('sessionId')!r}")


def _object(line: str, number: int) -> dict[str, Any]:
    try:
        item = json.loads(line)
    except ValueError as error:
        raise CommandError(f"line {number}: no JSON: {error}") from None
    if not isinstance(item, dict):
        raise CommandError(f"line {number}: no JSON object")
    return cast("dict[str, Any]", item)


def _check_head(head: dict[str, Any]) -> None:
    if head.get("type") != "export":
        raise CommandError("line 1: it is no `export` line; the file was not written by `export`")
    if head.get("format") != FORMAT:
        raise CommandError(
            f"line 1: format {head.get('format')!r}, this command reads {FORMAT}; install the newer package"
        )


def _copy(session: list[dict[str, Any]], number: int) -> dict[str, Any]:
    counts = {kind: sum(item["type"] == kind for item in session) for kind in _COUNTED}
    if session[-1].get("lines") != counts:
        raise CommandError(f"line {number}: the end counts other lines than there are")
    if session[-1].get("changed"):
        raise CommandError(f"line {number}: the session changed while it was exported; export it again")
    try:
        messages = [item["message"] for item in session if item["type"] == "message"]
        usage = [item["entry"] for item in session if item["type"] == "usage"]
        return {
            "format": FORMAT,
            "sessionId": session[0]["sessionId"],
            "stored": session[0]["stored"],
            "messages": messages,
            "usage": usage,
        }
    except KeyError as error:
        raise CommandError(f"a line of the session that ends at line {number} has no {error}") from None
