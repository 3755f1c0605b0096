"""`import`: stores the sessions and budgets of an export."""

from __future__ import annotations

import argparse
import sys
from array import array
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryFile
from typing import IO

from agents_store_cloudflare.command.failure import BAD_ARGUMENTS, CommandError
from agents_store_cloudflare.command.opening import OpenDatabase, open_database
from agents_store_cloudflare.command.parsers import Commands, add_command
from agents_store_cloudflare.command.text import json_text, printable
from agents_store_cloudflare.contract.errors import AgentsStoreError, InvalidArgumentError, SessionExistsError
from agents_store_cloudflare.transfer import check_copy, import_copy
from agents_store_cloudflare.transfer.lines import Copy, copies_of

__all__ = ["add_parser"]

EXAMPLES = 20
"""The number of refused sessions that an error names."""

STREAMS_NEED_A_WORKER = (
    "streams lie in Durable Objects, which only a Worker reaches: store the file inside the Worker (docs/command.md), "
    "or leave them out with --without-streams"
)


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "import", _run, help="store the sessions and budgets of an export")
    parser.add_argument("file", type=Path, metavar="FILE", help="a file from `export`; - reads standard input")
    parser.add_argument("--replace", action="store_true", help="replace sessions and budgets that exist")
    parser.add_argument("--rename", action="append", default=[], type=_pair, metavar="OLD=NEW", help="may be repeated")
    parser.add_argument("--without-streams", action="store_true", help="leave out the streams of the file")


def _pair(text: str) -> tuple[str, str]:
    old, sign, new = text.partition("=")
    if not (old and sign and new):
        raise argparse.ArgumentTypeError(f"{text!r} is not OLD=NEW")
    return old, new


async def _run(options: argparse.Namespace) -> int:
    with _opened(options.file) as file, open_database(options, read_only=False) as opened:
        await opened.check_schema()
        export = _Export(file, without_streams=options.without_streams)
        parts = export.parts()  # the whole file is checked before anything is stored
        how = _how(options, parts)
        await _refuse(opened, export, parts, how)
        # An export begins with the newest session, and lists show the order of creation.
        for part in reversed(parts):
            await _store(opened, export, part, how)
            if not options.json:
                print(printable(f"imported {how.rename.get(part.name, part.name) if part.is_session else part}"))
    if options.json:
        body = {"imported": [how.rename.get(part.name, part.name) for part in parts if part.is_session]}
        budgets = {"budgets": [part.name for part in parts if not part.is_session]}
        print(json_text(body | budgets if budgets["budgets"] else body))
    return 0


@dataclass(frozen=True, slots=True)
class _How:
    replace: bool
    rename: dict[str, str]


def _how(options: argparse.Namespace, parts: Sequence[_Part]) -> _How:
    """Return how the copies are stored.

    Raises:
        CommandError: --rename names an id twice, or an id that the file does not have.
    """
    rename: dict[str, str] = dict(options.rename)
    if len(rename) < len(options.rename):
        raise CommandError("--rename names an id twice", status=BAD_ARGUMENTS)
    if unknown := sorted(rename.keys() - {part.name for part in parts if part.is_session}):
        raise CommandError(f"--rename: the file has no session {unknown[0]!r}", status=BAD_ARGUMENTS)
    ids = [rename.get(part.name, part.name) for part in parts if part.is_session]
    if twice := sorted(each for each in set(ids) if ids.count(each) > 1):
        raise CommandError(f"two sessions would become {twice[0]!r}", status=BAD_ARGUMENTS)
    return _How(options.replace, rename)


@contextmanager
def _opened(path: Path) -> Generator[IO[bytes], None, None]:
    """Open the file. It is read several times, so standard input and pipes (`<(zcat …)`) are copied first."""
    if str(path) == "-":
        with _copied(sys.stdin.buffer) as copy:
            yield copy
        return
    with path.open("rb") as given, nullcontext(given) if given.seekable() else _copied(given) as file:
        yield file


@contextmanager
def _copied(source: IO[bytes]) -> Generator[IO[bytes], None, None]:
    with TemporaryFile() as copy:
        copyfileobj(source, copy)
        copy.seek(0)
        yield copy


@dataclass(frozen=True, slots=True)
class _Part:
    """The place of a session or of a tree of budgets in the file."""

    name: str
    line: int
    is_session: bool

    def __str__(self) -> str:
        return repr(self.name) if self.is_session else f"budgets of {self.name!r}"


class _Export:
    """An export. It can be read part by part, several times."""

    def __init__(self, file: IO[bytes], *, without_streams: bool) -> None:
        self._file = file
        self._without_streams = without_streams
        self._begins = array("q")  # of each line, in bytes
        self._head = ""

    def parts(self) -> list[_Part]:
        """Return every session and every tree of budgets of the file.

        Raises:
            CommandError: the file is no complete export. The message names the line.
        """
        found: list[_Part] = []
        try:
            for line, copy in copies_of(self._lines()):
                if copy.get("streams") and not self._without_streams:
                    raise CommandError(f"line {line}: {copy['sessionId']!r} has a stream; {STREAMS_NEED_A_WORKER}")
                is_session = "root" not in copy
                found.append(_Part(copy["sessionId" if is_session else "root"], line, is_session))
        except InvalidArgumentError as error:
            raise CommandError(str(error)) from None
        return found

    def copy(self, part: _Part) -> Copy:
        """Return the copy of a part that `parts` has found, without its streams."""
        self._file.seek(self._begins[part.line - 1])
        _, copy = next(copies_of(chain([self._head], (line.decode() for line in self._file))))
        return {key: value for key, value in copy.items() if key != "streams"}

    def _lines(self) -> Iterator[str]:
        begin = 0
        for number, line in enumerate(self._file, 1):
            self._begins.append(begin)
            begin += len(line)
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")  # Windows programs begin a file with a mark
            except UnicodeDecodeError:
                raise CommandError(f"line {number}: no UTF-8 text; the file is no export") from None
            if not self._head.strip():
                self._head = text
            yield text


async def _refuse(opened: OpenDatabase, export: _Export, parts: Sequence[_Part], how: _How) -> None:
    """Raise one error that lists everything that cannot be stored."""
    refused: list[str] = []
    for part in parts:
        try:
            await check_copy(opened.database, export.copy(part), replace=how.replace, rename=how.rename)
        except SessionExistsError as error:
            refused.append(f"line {part.line}: {error.session_id!r} exists, and --replace replaces it")
        except (InvalidArgumentError, TypeError) as error:
            refused.append(f"line {part.line}: {error}")
    if refused:
        more = f"; and {len(refused) - EXAMPLES} more" if len(refused) > EXAMPLES else ""
        raise CommandError(f"nothing was stored: {'; '.join(refused[:EXAMPLES])}{more}")


async def _store(opened: OpenDatabase, export: _Export, part: _Part, how: _How) -> None:
    try:
        await import_copy(opened.database, export.copy(part), replace=how.replace, rename=how.rename)
    except (AgentsStoreError, TypeError) as error:
        raise CommandError(
            f"line {part.line}: {error}; the parts below it in the file are stored: use --replace to go on"
        ) from error
