"""The size of the databases that a local runtime has on disk."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["stored_bytes"]

USED_BYTES = (
    "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
)
NOT_STORED = "metadata.sqlite"
"""The local runtime's own list of its objects."""


def stored_bytes(state: Path) -> int:
    """Return the pages in use of every SQLite database in a folder, in bytes: as an object's `databaseSize` and D1's `size_after`.

    The runtime has them open. So each is copied with its log, and the copy answers.
    """
    files = [file for file in state.rglob("*.sqlite") if file.name != NOT_STORED]
    return sum(map(_used_bytes, files))


def _used_bytes(file: Path) -> int:
    with TemporaryDirectory() as folder:
        for each in (file, file.with_name(f"{file.name}-wal")):
            if each.exists():
                shutil.copy(each, folder)
        with closing(sqlite3.connect(Path(folder) / file.name)) as copy:
            [[used]] = copy.execute(USED_BYTES).fetchall()
            return int(used)
