"""`import`: the sessions of an export, stored again whole."""

from __future__ import annotations

import argparse
import sys
from array import array
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryFile
from typing import IO

from agents_store_cloudflare.command.failure import CommandError
from agents_store_cloudflare.command.opening import OpenDatabase, open_database
from agents_store_cloudflare.command.parsers import Commands, add_command
from agents_store_cloudflare.command.text import json_text, printable
from agents_store_cloudflare.contract.errors import AgentsStoreError, InvalidArgumentError
from agents_store_cloudflare.transfer import SessionCopy, import_session
from agents_store_cloudflare.transfer.lines import copies_of

__all__ = ["add_parser"]

EXAMPLES = 20
"""How many refused sessions are named."""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "import", _run, help="store the sessions of an export")
    parser.add_argument("file", type=Path, metavar="FILE", help="what `export` wrote; - reads standard input")
    parser.add_argument("--replace", action="store_true", help="replace sessions that exist")


async def _run(options: argparse.Namespace) -> int:
    with _opened(options.file) as file, open_database(options, read_only=False) as opened:
        await opened.check_schema()
        export = _Export(file)
        sessions = export.sessions()  # the whole file is checked before anything is stored
        if not options.replace:
            await _refuse_existing(opened, sessions)
        # An export begins with the newest session, and lists show the order of creation.
        for session in reversed(sessions):
            await _store(opened, export, session, replace=options.replace)
            if not options.json:
                print(printable(f"imported {session.session_id}"))
    if options.json:
        print(json_text({"imported": [session.session_id for session in sessions]}))
    return 0


@contextmanager
def _opened(path: Path) -> Generator[IO[bytes], None, None]:
    """The file, which is read twice: standard input is copied first."""
    if str(path) != "-":
        with path.open("rb") as file:
            yield file
        return
    with TemporaryFile() as copy:
        copyfileobj(sys.stdin.buffer, copy)
        copy.seek(0)
        yield copy


@dataclass(frozen=True, slots=True)
class _Session:
    """Where a session stands in the file."""

    session_id: str
    line: int


class _Export:
    """An export, read twice: once to check it, once to store it session by session."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._begins = array("q")  # of each line, in bytes

    def sessions(self) -> list[_Session]:
        """Every session of the file.

        Raises:
            CommandError: the file is no whole export; the line is named.
        """
        try:
            return [_Session(copy["sessionId"], line) for line, copy in copies_of(self._lines())]
        except InvalidArgumentError as error:
            raise CommandError(str(error)) from None

    def copy(self, session: _Session) -> SessionCopy:
        """The copy of a session that `sessions` has found."""
        self._file.seek(0)
        head = self._file.readline()
        self._file.seek(self._begins[session.line - 1])
        _, copy = next(copies_of(line.decode() for line in chain([head], self._file)))
        return copy

    def _lines(self) -> Iterator[str]:
        begin = 0
        for number, line in enumerate(self._file, 1):
            self._begins.append(begin)
            begin += len(line)
            try:
                yield line.decode()
            except UnicodeDecodeError:
                raise CommandError(f"line {number}: no UTF-8 text; the file is no export") from None


async def _refuse_existing(opened: OpenDatabase, sessions: Sequence[_Session]) -> None:
    found = [session for session in sessions if await opened.states.exists(session.session_id)]
    if found:
        listed = "; ".join(f"line {each.line}: {each.session_id!r}" for each in found[:EXAMPLES])
        more = f"; and {len(found) - EXAMPLES} more" if len(found) > EXAMPLES else ""
        raise CommandError(f"these sessions exist already: {listed}{more}; --replace replaces them; nothing was stored")


async def _store(opened: OpenDatabase, export: _Export, session: _Session, *, replace: bool) -> None:
    try:
        await import_session(opened.database, export.copy(session), replace=replace)
    except (AgentsStoreError, TypeError) as error:
        raise CommandError(f"line {session.line}: {error}") from error
