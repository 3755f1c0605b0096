"""`python -m agents_store_cloudflare`."""

from pathlib import Path

import pytest

from agents_store_cloudflare.__main__ import main
from agents_store_cloudflare.migrations import MIGRATION_FILES, migration_text


def test_migrations_copy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The files arrive as they are; a second run changes nothing; a file of the user's is left alone and reported."""
    folder = tmp_path / "worker" / "migrations"
    assert main(["migrations", "copy", str(folder)]) == 0
    assert {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()} == {
        name: migration_text(name) for name in MIGRATION_FILES
    }
    assert main(["migrations", "copy", str(folder)]) == 0
    (folder / MIGRATION_FILES[0]).write_text("-- mine")
    assert main(["migrations", "copy", str(folder)]) == 1
    assert (folder / MIGRATION_FILES[0]).read_text() == "-- mine"
    assert "rename yours" in capsys.readouterr().err
