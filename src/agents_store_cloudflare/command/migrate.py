"""`migrate`: brings a database to the schema of this version of the package."""

from __future__ import annotations

import argparse

from agents_store_cloudflare.command.opening import open_database
from agents_store_cloudflare.command.parsers import Commands, add_command
from agents_store_cloudflare.command.text import json_text
from agents_store_cloudflare.contract.errors import MigrationError
from agents_store_cloudflare.migrations import (
    CURRENT_SCHEMA_VERSION,
    MIGRATION_FILES,
    get_agents_migration_version,
    run_migration,
)

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "migrate", _run, help="bring the database to the current schema")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")


async def _run(options: argparse.Namespace) -> int:
    with open_database(options, read_only=options.dry_run) as opened:
        before = await get_agents_migration_version(opened.database)
        if before > CURRENT_SCHEMA_VERSION:
            raise MigrationError(
                f"{opened.place} has schema version {before}, this code knows {CURRENT_SCHEMA_VERSION}; "
                "install the newer agents-store-cloudflare"
            )
        if not options.dry_run:
            await run_migration(opened.database)
        files = MIGRATION_FILES[before:]
        if options.json:
            body = {"from": before, "to": CURRENT_SCHEMA_VERSION, "files": list(files), "dryRun": options.dry_run}
            print(json_text(body))
        elif not files:
            print(f"{opened.place}: schema version {before} is current")
        else:
            verb = "would apply" if options.dry_run else "applied"
            print(f"{opened.place}: schema version {before} -> {CURRENT_SCHEMA_VERSION}, {verb} {', '.join(files)}")
    return 0
