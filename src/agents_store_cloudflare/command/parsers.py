"""Helpers of the commands' parsers."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeAlias

from agents_store_cloudflare.command.opening import add_database_options

__all__ = ["Commands", "Run", "add_command", "whole_number"]

MOST_DIGITS: Final = 15

Run: TypeAlias = "Callable[[argparse.Namespace], Awaitable[int]]"


class Commands(Protocol):
    """The result of `add_subparsers`, for which argparse has no public type."""

    def add_parser(self, name: str, *, help: str, description: str | None = None) -> argparse.ArgumentParser:  # noqa: A002
        """Add a command."""
        ...


def add_command(commands: Commands, name: str, run: Run, *, help: str, json: bool = True) -> argparse.ArgumentParser:  # noqa: A002
    """Add a command on a database, with the options that name the database."""
    parser = commands.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
    add_database_options(parser)
    if json:
        parser.add_argument("--json", action="store_true", help="one JSON document, on one line")
    parser.set_defaults(run=run)
    return parser


def whole_number(text: str) -> int:
    """Parse the number of an option: 0, 1, 2 …"""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    if len(text) > MOST_DIGITS:
        raise argparse.ArgumentTypeError(f"a number of {len(text)} digits is too large")
    return int(text)
