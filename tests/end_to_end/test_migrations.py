"""Migrations beside wrangler, on real D1: every order of the three ways ends in the same schema."""

import json
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from agents_store_cloudflare.migrations import CURRENT_SCHEMA_VERSION, MIGRATION_FILES, TABLE_NAMES
from tools.local_runtime import LocalRuntime, wrangler
from tools.wrangler import WranglerError

pytestmark = pytest.mark.runtime

CONFIG = Path(__file__).parent / "migrations_worker" / "wrangler.toml"
FOLDER = Path(__file__).parents[2] / "migrations"
OLD_SESSION = "INSERT INTO __agents_states (session_id, agent_type, created_at, updated_at) VALUES ('old', 'x', 1, 1)"


class Databases:
    """Runs wrangler's commands on one persist folder, and the Worker on the same folder."""

    def __init__(self, persist: Path) -> None:
        self.persist = persist

    def apply(self, binding: str) -> str:
        return wrangler("d1", "migrations", "apply", binding, "--local", config=CONFIG, persist=self.persist)

    def execute_file(self, binding: str, name: str) -> str:
        arguments = ("d1", "execute", binding, "--local", "--file", str(FOLDER / name))
        return wrangler(*arguments, config=CONFIG, persist=self.persist)

    def execute(self, binding: str, command: str) -> str:
        arguments = ("d1", "execute", binding, "--local", "--command", command)
        return wrangler(*arguments, config=CONFIG, persist=self.persist)


def _get(runtime: LocalRuntime, path: str) -> Any:
    with urlopen(f"{runtime.url}/{path}", timeout=60) as response:
        return json.load(response)


def test_every_order_ends_in_the_same_schema(tmp_path: Path) -> None:
    """MG-3, MG-5, MG-8: The schema is the same when wrangler is first, when the Worker is first, after files by hand, and after
    racing callers.
    """
    databases = Databases(tmp_path)
    databases.apply("DB_A")
    for name in MIGRATION_FILES:
        databases.execute_file("DB_B", name)
    databases.execute_file("DB_C", MIGRATION_FILES[0])
    databases.execute("DB_C", OLD_SESSION)
    with LocalRuntime(CONFIG, persist=tmp_path) as runtime:
        for binding in ("DB_A", "DB_B", "DB_C", "DB_D"):
            assert _get(runtime, f"run/{binding}") == [CURRENT_SCHEMA_VERSION] * 10
    for binding in ("DB_A", "DB_B", "DB_C", "DB_D"):
        databases.apply(binding)  # 0001_init.sql at most, which may be run again
        assert "No migrations to apply" in databases.apply(binding)
    for binding in ("DB_A", "DB_D"):
        with pytest.raises(WranglerError, match=r"UNIQUE|PRIMARYKEY"):
            databases.execute_file(binding, MIGRATION_FILES[1])
    databases.execute_file("DB_A", MIGRATION_FILES[0])
    with LocalRuntime(CONFIG, persist=tmp_path) as runtime:
        for binding in ("DB_A", "DB_B", "DB_C", "DB_D"):
            assert _get(runtime, f"look/{binding}") == {
                "migrated": True,
                "tables": list(TABLE_NAMES),
                "files": list(MIGRATION_FILES),
                "sessions": [["old", 1]] if binding == "DB_C" else [],
            }


def test_wrangler_after_files_by_hand(tmp_path: Path) -> None:
    """MG-5: After `execute --file` of some or all files, `migrations apply` applies exactly the missing ones."""
    databases = Databases(tmp_path)
    for name in MIGRATION_FILES:
        databases.execute_file("DB_A", name)
    databases.execute_file("DB_B", MIGRATION_FILES[0])
    databases.apply("DB_A")
    assert "No migrations to apply" in databases.apply("DB_A")
    databases.apply("DB_B")
    with LocalRuntime(CONFIG, persist=tmp_path) as runtime:
        for binding in ("DB_A", "DB_B"):
            assert _get(runtime, f"look/{binding}")["migrated"]
            assert _get(runtime, f"look/{binding}")["files"] == list(MIGRATION_FILES)
