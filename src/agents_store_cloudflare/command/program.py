"""The program. It takes arguments and returns an exit status. Every failure is reported in one line."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import NoReturn

from agents_store_cloudflare.command import (
    budgets,
    console,
    doctor,
    export,
    import_file,
    migrate,
    migrations_copy,
    new,
    sessions,
    show,
    usage,
)
from agents_store_cloudflare.command.failure import BAD_ARGUMENTS, FAILED, CommandError
from agents_store_cloudflare.command.text import printable
from agents_store_cloudflare.contract.arguments import check_text
from agents_store_cloudflare.contract.errors import AgentsStoreError, InvalidArgumentError
from agents_store_cloudflare.database import SqlError

__all__ = ["main"]

PROGRAM = "python -m agents_store_cloudflare"
INTERRUPTED = 130
_COMMANDS = (migrate, sessions, show, usage, budgets, console, export, import_file, doctor)


class _Parser(argparse.ArgumentParser):
    """A parser that reports an error on one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_ARGUMENTS, f"error: {printable(message)}; --help lists the commands and options\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Return the exit status: 0 for success, 1 for a failure or a problem found by `doctor`, 2 for bad arguments."""
    options = _parser().parse_args(arguments)
    if reconfigure := getattr(sys.stdout, "reconfigure", None):
        reconfigure(errors="backslashreplace")  # a character that the terminal does not have must not stop a command
    try:
        _check_texts(options)
        status = int(asyncio.run(options.run(options)))
        print(end="", flush=True)  # `>&-` leaves no sys.stdout, which print forgives
    except BrokenPipeError:  # `… | head` reads no more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = FAILED
    except KeyboardInterrupt:
        status = INTERRUPTED
    except (CommandError, AgentsStoreError, SqlError, OSError, ValueError, TypeError, KeyError) as error:
        message, status = _failure(error)
        print(f"error: {printable(message)}", file=sys.stderr)
    return status


def _check_texts(options: argparse.Namespace) -> None:
    """Raise InvalidArgumentError for an option that is no UTF-8. Paths may have any bytes."""
    for name, value in vars(options).items():
        if isinstance(value, str):
            check_text(value, name, empty=True)


def _failure(error: Exception) -> tuple[str, int]:
    match error:
        case CommandError():
            return str(error), error.status
        case InvalidArgumentError():
            return str(error), BAD_ARGUMENTS
        case AgentsStoreError() | SqlError() | OSError():
            return str(error), FAILED
        case _:
            what = f"{type(error).__name__}: {error}"
            return f"the stored data does not have the form of this package ({what}); `doctor` shows more", FAILED


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROGRAM, description="Look into the D1 database of your agents, check it, migrate it, copy it."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('agents-store-cloudflare')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add_parser(commands)
    migrations_copy.add_parser(commands)
    new.add_parser(commands)
    return parser
