"""The file of a local D1 database, as wrangler keeps it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from agents_store_cloudflare.command.failure import BAD_ARGUMENTS, CommandError

__all__ = ["check_database_file", "find_database_file"]

DEFAULT_STATE = Path(".wrangler", "state")
_FILES = Path("v3", "d1", "miniflare-D1DatabaseObject")
_NOT_A_DATABASE = "metadata.sqlite"  # the runtime's own file

# Every version of the schema has this table.
_HAS_OUR_TABLES = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '__agents_states'"


def check_database_file(path: Path) -> Path:
    """Return `path`, if it is an SQLite file.

    Raises:
        CommandError: there is no file, or it is no SQLite file.
    """
    if not path.is_file():
        raise CommandError(f"there is no file {path}", status=BAD_ARGUMENTS)
    with path.open("rb") as file:
        head = file.read(16)
    if head not in (b"", b"SQLite format 3\x00"):
        raise CommandError(f"{path} is no SQLite database", status=BAD_ARGUMENTS)
    return path


def find_database_file(persist_to: Path | None) -> Path:
    """Return the database below wrangler's state folder that holds this package's tables. If none does, a single database is returned.

    Args:
        persist_to: the folder of `wrangler dev --persist-to`; None for `.wrangler/state` here.

    Raises:
        CommandError: there is no database, or there are several candidates; the message lists them.
    """
    folder = (persist_to or DEFAULT_STATE) / _FILES
    files = sorted(path for path in folder.glob("*.sqlite") if path.name != _NOT_A_DATABASE)
    if not files:
        raise CommandError(
            f"no local D1 database in {folder}: run `wrangler dev` first, go to the Worker's folder, or say "
            "--persist-to DIR, --database FILE or --remote",
            status=BAD_ARGUMENTS,
        )
    ours = [path for path in files if _holds_our_tables(path)]
    if len(ours or files) == 1:
        return (ours or files)[0]
    which = f"{len(ours)} databases hold" if ours else f"none of {len(files)} databases holds"
    listed = ", ".join(str(path) for path in ours or files)
    raise CommandError(f"{which} this package's tables; say --database with one of {listed}", status=BAD_ARGUMENTS)


def _holds_our_tables(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute(_HAS_OUR_TABLES).fetchone() is not None
    except sqlite3.Error:
        return False
