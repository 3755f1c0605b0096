"""Mistakes in a Worker's wrangler.toml and entry module, in the real runtime: the answer names the line to change."""

import shutil
from pathlib import Path

import pytest

from tests.end_to_end.sse_client import call
from tools.local_runtime import LocalRuntime

pytestmark = pytest.mark.runtime

WORKER = Path(__file__).with_name("wiring_worker")
DATABASE = """[[d1_databases]]
binding = "AGENT_DB"
database_name = "wiring"
database_id = "00000000-0000-0000-0000-000000000000"
"""
OBJECTS = """[[durable_objects.bindings]]
name = "STREAMS"
class_name = "StreamServer"

[[durable_objects.bindings]]
name = "LOCKS"
class_name = "LockServer"
"""
MIGRATIONS = """[[migrations]]
tag = "v1"
new_sqlite_classes = ["StreamServer", "LockServer"]
"""
NO_EXPORT = ("LockServer, StreamServer, ", "")


def answer(tmp_path: Path, config: str, *, without: tuple[str, str] | None = None) -> str:
    """Return the Worker's answer with this configuration and the changed entry module."""
    folder = tmp_path / "worker"
    shutil.copytree(WORKER, folder)
    head = 'name = "wiring"\nmain = "entry.py"\ncompatibility_date = "2026-11-01"\ncompatibility_flags = ["python_workers"]\n'
    (folder / "wrangler.toml").write_text(head + config)
    if without is not None:
        entry = folder / "entry.py"
        entry.write_text(
            entry.read_text().replace(*without).replace('"Default", "LockServer", "StreamServer"', '"Default"')
        )
    with LocalRuntime(folder / "wrangler.toml") as runtime:
        return call(runtime.url, "GET", "/").body.decode()


def test_a_right_worker_is_wired(tmp_path: Path) -> None:
    """CO-11: With all sections in place nothing is refused."""
    assert answer(tmp_path, DATABASE + OBJECTS + MIGRATIONS) == "wired"


def test_missing_bindings(tmp_path: Path) -> None:
    """CO-11: each missing binding is named with its section."""
    told = answer(tmp_path, DATABASE)
    assert "env.STREAMS is missing" in told
    assert 'new_sqlite_classes = ["LockServer"]' in told


def test_classes_that_are_not_exported(tmp_path: Path) -> None:
    """CO-11: the answer shows the import to write."""
    told = answer(tmp_path, DATABASE + OBJECTS + MIGRATIONS, without=NO_EXPORT)
    assert "from agents_store_cloudflare import LockServer, StreamServer" in told


def test_classes_without_sqlite(tmp_path: Path) -> None:
    """CO-11: `new_classes` instead of `new_sqlite_classes` is named."""
    told = answer(tmp_path, DATABASE + OBJECTS + MIGRATIONS.replace("new_sqlite_classes", "new_classes"))
    assert "StreamServer has no SQLite" in told
    assert 'new_sqlite_classes = ["StreamServer"]' in told


def test_exchanged_classes(tmp_path: Path) -> None:
    """CO-11: bindings that lead to each other's class are named."""
    exchanged = OBJECTS.replace("StreamServer", "X").replace("LockServer", "StreamServer").replace("X", "LockServer")
    assert "should lead to StreamServer leads to LockServer" in answer(tmp_path, DATABASE + exchanged + MIGRATIONS)
