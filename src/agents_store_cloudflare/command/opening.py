"""Opens the database of the command's options."""

from __future__ import annotations

import argparse
import logging
import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agents_store_cloudflare.command.database_files import check_database_file, find_database_file
from agents_store_cloudflare.command.failure import BAD_ARGUMENTS, CommandError
from agents_store_cloudflare.command.remote import API_URL, RemoteDatabase
from agents_store_cloudflare.database import Database
from agents_store_cloudflare.database.sqlite import SqliteDatabase
from agents_store_cloudflare.migrations import CURRENT_SCHEMA_VERSION, get_agents_migration_version
from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.usage import D1UsageStore

__all__ = ["OpenDatabase", "add_database_options", "open_database"]


@dataclass(frozen=True, slots=True)
class OpenDatabase:
    """The database of a command.

    Attributes:
        place: the place of the database, as text for people.
    """

    database: Database
    place: str

    @property
    def states(self) -> D1StateStore:
        return D1StateStore(self.database, logger=_silent())

    @property
    def usage(self) -> D1UsageStore:
        return D1UsageStore(self.database, logger=_silent())

    async def check_schema(self) -> None:
        """Refuse a database that this code cannot read.

        Raises:
            CommandError: its schema is missing, older or newer.
        """
        version = await get_agents_migration_version(self.database)
        if version > CURRENT_SCHEMA_VERSION:
            raise CommandError(
                f"{self.place} has schema version {version}, this command knows {CURRENT_SCHEMA_VERSION}; "
                "install the newer agents-store-cloudflare"
            )
        if version < CURRENT_SCHEMA_VERSION:
            has = (
                f"has schema version {version}, older than {CURRENT_SCHEMA_VERSION}"
                if version
                else "has no tables of ours"
            )
            raise CommandError(f"{self.place} {has}; `migrate` brings them up to date")


def _silent() -> logging.Logger:
    """Return a logger that writes nothing: the stores log the errors that they raise, and the command prints one line for each."""
    logger = logging.Logger("agents-store")  # noqa: LOG001 - outside the tree of loggers, so that no configuration reaches it
    logger.addHandler(logging.NullHandler())
    return logger


def add_database_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the database."""
    local = parser.add_argument_group("a local database (wrangler dev)")
    local.add_argument("--persist-to", type=Path, metavar="DIR", help="as given to wrangler; default: .wrangler/state")
    local.add_argument("--database", type=Path, metavar="FILE", help="the SQLite file itself")
    remote = parser.add_argument_group("a remote database (the token comes from CLOUDFLARE_API_TOKEN)")
    remote.add_argument("--remote", action="store_true", help="D1 over Cloudflare's HTTP API")
    remote.add_argument("--account-id", metavar="ID", help="default: CLOUDFLARE_ACCOUNT_ID")
    remote.add_argument("--database-id", metavar="ID", help="the database_id of wrangler.toml")
    remote.add_argument("--api-url", metavar="URL", default=API_URL, help=argparse.SUPPRESS)


@contextmanager
def open_database(options: argparse.Namespace, *, read_only: bool = True) -> Generator[OpenDatabase, None, None]:
    """Open the database that the options name, and close it after the block.

    Raises:
        CommandError: the options contradict each other, or there is no such database.
    """
    if options.remote:
        yield OpenDatabase(_remote(options), f"the D1 database {options.database_id}")
        return
    if options.account_id or options.database_id:
        raise CommandError("--account-id and --database-id go with --remote", status=BAD_ARGUMENTS)
    if options.database and options.persist_to:
        raise CommandError("say --database or --persist-to, not both", status=BAD_ARGUMENTS)
    file = check_database_file(options.database) if options.database else find_database_file(options.persist_to)
    try:
        database = SqliteDatabase(file, read_only=read_only)
    except sqlite3.Error as error:
        raise CommandError(f"{file} cannot be opened: {error}") from error
    try:
        yield OpenDatabase(database, str(file))
    finally:
        database.close()


def _remote(options: argparse.Namespace) -> RemoteDatabase:
    if options.database or options.persist_to:
        raise CommandError("--database and --persist-to are local, --remote is not", status=BAD_ARGUMENTS)
    account_id = options.account_id or os.environ.get("CLOUDFLARE_ACCOUNT_ID")
    token = os.environ.get("CLOUDFLARE_API_TOKEN")
    missing = [
        name
        for name, value in (
            ("--account-id (or CLOUDFLARE_ACCOUNT_ID)", account_id),
            ("--database-id", options.database_id),
            ("CLOUDFLARE_API_TOKEN in the environment", token),
        )
        if not value
    ]
    if missing or not account_id or not token:
        raise CommandError(f"--remote needs {', '.join(missing)}", status=BAD_ARGUMENTS)
    return RemoteDatabase(account_id, options.database_id, token.strip(), base_url=options.api_url.rstrip("/"))
