"""`migrations copy`: the SQL files for wrangler."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from agents_store_cloudflare.command.parsers import Commands
from agents_store_cloudflare.migrations import MIGRATION_FILES, migration_text

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """Add the command."""
    migrations = commands.add_parser("migrations", help="the SQL files of the schema").add_subparsers(
        required=True, metavar="COMMAND"
    )
    copy = migrations.add_parser(
        "copy", help="copy the files into a Worker's migrations_dir, for `wrangler d1 migrations apply`"
    )
    copy.add_argument("folder", type=Path, help="the migrations_dir; made if absent")
    copy.set_defaults(run=_run)


async def _run(options: argparse.Namespace) -> int:
    return copy_migrations(options.folder)


def copy_migrations(folder: Path) -> int:
    """Write each file that is missing. A file of that name with other content stays as it is, and makes the status 1."""
    folder.mkdir(parents=True, exist_ok=True)
    different = [name for name in MIGRATION_FILES if not _copied(folder / name, migration_text(name))]
    return int(bool(different))


def _copied(target: Path, text: str) -> bool:
    if not target.exists():
        target.write_text(text, encoding="utf-8")
        print(f"copied {target}")
    elif target.read_text(encoding="utf-8") != text:
        print(f"{target} exists with another content; rename yours", file=sys.stderr)
        return False
    else:
        print(f"{target} exists already")
    return True
