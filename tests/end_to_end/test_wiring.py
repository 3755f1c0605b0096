"""Mistakes in a Worker's wrangler.toml and entry module, in the real runtime: the answer names the line to change."""

import shutil
from collections.abc import Mapping, Sequence
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
HOMES = """[[durable_objects.bindings]]
name = "SESSIONS"
class_name = "SessionServer"
"""
V3 = """[[migrations]]
tag = "v3"
new_sqlite_classes = ["SessionServer"]
"""
WITH_HOMES = {"HOMES": "SESSIONS"}
CALLED = {"HOMES": "SESSIONS", "FIRST": "call"}
"""The Worker checks nothing, so its first call of a store meets the mistake."""


def answer(
    tmp_path: Path, config: str, *, without: Sequence[str] = (), variables: Mapping[str, str] | None = None
) -> str:
    """Return the Worker's answer with this configuration, and without these classes in its entry module."""
    folder = tmp_path / "worker"
    shutil.copytree(WORKER, folder)
    head = 'name = "wiring"\nmain = "entry.py"\ncompatibility_date = "2026-11-01"\ncompatibility_flags = ["python_workers"]\n'
    (folder / "wrangler.toml").write_text(head + config)
    entry = folder / "entry.py"
    for name in without:
        entry.write_text(entry.read_text().replace(f"    {name},\n", "").replace(f', "{name}"', ""))
    with LocalRuntime(folder / "wrangler.toml", vars=variables) as runtime:
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
    told = answer(tmp_path, DATABASE + OBJECTS + MIGRATIONS, without=("LockServer", "StreamServer"))
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


def test_a_right_worker_with_homes_is_wired(tmp_path: Path) -> None:
    """HM-9: With the binding SESSIONS and tag v3 nothing is refused."""
    config = DATABASE + OBJECTS + HOMES + MIGRATIONS + V3
    assert answer(tmp_path, config, variables=WITH_HOMES) == "wired"


def test_a_missing_binding_of_homes(tmp_path: Path) -> None:
    """HM-9: `check_bindings` names the binding with its two sections."""
    told = answer(tmp_path, DATABASE + OBJECTS + MIGRATIONS, variables=WITH_HOMES)
    assert "env.SESSIONS is missing" in told
    assert V3.strip() in told


@pytest.mark.parametrize("variables", [WITH_HOMES, CALLED], ids=["migrate", "call"])
def test_homes_without_tag_v3(tmp_path: Path, variables: Mapping[str, str]) -> None:
    """HM-9: a class that no migration names is refused by the check, and by the first call, with the section to add."""
    told = answer(tmp_path, DATABASE + OBJECTS + HOMES + MIGRATIONS, variables=variables)
    assert "new_sqlite_classes" in told, told
    assert "SessionServer" in told


@pytest.mark.parametrize("variables", [WITH_HOMES, CALLED], ids=["migrate", "call"])
def test_homes_of_a_class_without_sqlite(tmp_path: Path, variables: Mapping[str, str]) -> None:
    """HM-9: `new_classes` instead of `new_sqlite_classes` is named by the check, and by the first call."""
    config = DATABASE + OBJECTS + HOMES + MIGRATIONS + V3.replace("new_sqlite_classes", "new_classes")
    told = answer(tmp_path, config, variables=variables)
    assert "new_sqlite_classes" in told, told


@pytest.mark.parametrize("variables", [WITH_HOMES, CALLED], ids=["migrate", "call"])
def test_homes_of_a_class_that_is_not_exported(tmp_path: Path, variables: Mapping[str, str]) -> None:
    """HM-9: the answer shows the import to write."""
    config = DATABASE + OBJECTS + HOMES + MIGRATIONS + V3
    told = answer(tmp_path, config, without=("SessionServer",), variables=variables)
    assert "from agents_store_cloudflare import" in told, told
    assert "SessionServer" in told


@pytest.mark.parametrize("first", ["migrate", "call"])
@pytest.mark.parametrize("binding", ["STREAMS", "LOCKS"])
def test_homes_of_another_class(tmp_path: Path, binding: str, first: str) -> None:
    """HM-9: `sessions=` with the binding of another class is named by the check, and by the first call."""
    config = DATABASE + OBJECTS + MIGRATIONS
    told = answer(tmp_path, config, variables={"HOMES": binding, "FIRST": first})
    assert "SessionServer" in told, told
    assert "exchange" in told, told
