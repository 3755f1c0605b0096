"""`python -m agents_store_cloudflare`: what an operator does on the host."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from agents_store_cloudflare.migrations import MIGRATION_FILES, migration_text

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m agents_store_cloudflare")
    commands = parser.add_subparsers(required=True)
    migrations = commands.add_parser("migrations", help="the SQL files of the D1 schema").add_subparsers(required=True)
    copy = migrations.add_parser(
        "copy", help="copy the files into a Worker's migrations_dir, for `wrangler d1 migrations apply`"
    )
    copy.add_argument("folder", type=Path, help="the migrations_dir; made if absent")
    return copy_migrations(parser.parse_args(arguments).folder)


def copy_migrations(folder: Path) -> int:
    """Write each file that is not there; a file of that name with another content is left alone and makes the status 1."""
    folder.mkdir(parents=True, exist_ok=True)
    different = 0
    for name in MIGRATION_FILES:
        target, text = folder / name, migration_text(name)
        if not target.exists():
            target.write_text(text, encoding="utf-8")
            print(f"copied {target}")
        elif target.read_text(encoding="utf-8") != text:
            print(f"{target} exists with another content; rename yours", file=sys.stderr)
            different += 1
        else:
            print(f"{target} is there already")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
