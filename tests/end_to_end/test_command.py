"""The command on the database of a Worker that is serving, and on one that wrangler migrated."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from agents_store_cloudflare.migrations import CURRENT_SCHEMA_VERSION
from tools.local_runtime import LocalRuntime, wrangler

pytestmark = pytest.mark.runtime

QUICKSTART = Path(__file__).parents[2] / "examples/quickstart/wrangler.toml"
MIGRATIONS_WORKER = Path(__file__).parent / "migrations_worker/wrangler.toml"


def _say(runtime: LocalRuntime, session_id: str, text: str) -> Any:
    with urlopen(f"{runtime.url}/?session={session_id}&say={text}", timeout=60) as response:
        return json.load(response)


def _command(persist: Path, *arguments: str, status: int = 0) -> str:
    """Run the command as a person does, and return its output."""
    command = [sys.executable, "-m", "agents_store_cloudflare", *arguments, "--persist-to", str(persist)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (status, "")
    return done.stdout


def test_beside_a_worker_that_serves(tmp_path: Path) -> None:
    """The command shows the Worker's rows at once, its reads disturb nothing, and doctor accepts the schema of the real D1."""
    with LocalRuntime(QUICKSTART, persist=tmp_path, ready_path="/?session=warm-up") as runtime:
        _say(runtime, "ada", "hello")
        _say(runtime, "ada", "again")
        [ada, warm_up] = json.loads(_command(tmp_path, "sessions", "--json"))["sessions"]
        assert (ada["sessionId"], ada["version"], ada["messageCount"]) == ("ada", 4, 2)
        assert warm_up["sessionId"] == "warm-up"
        assert "  1  user: again" in _command(tmp_path, "show", "ada")
        assert _command(tmp_path, "doctor").endswith("\n0 problems\n")
        assert f"schema version {CURRENT_SCHEMA_VERSION} is current" in _command(tmp_path, "migrate")
        assert _say(runtime, "ada", "still")["version"] == 6
        lines = [json.loads(line) for line in _command(tmp_path, "export", "ada").splitlines()]
        assert [line["message"]["content"] for line in lines if line["type"] == "message"] == [
            "hello",
            "again",
            "still",
        ]
        runtime.kill()
        assert '"messageCount": 3' in _command(tmp_path, "sessions", "--json")
        runtime.restart()
        assert _say(runtime, "ada", "after")["version"] == 8


def test_what_wrangler_migrated(tmp_path: Path) -> None:
    """`wrangler d1 migrations apply` gives the same schema. wrangler may also apply its files after `migrate`."""
    _wrangler(tmp_path, "migrations", "apply", "DB_A")
    assert _command(tmp_path, "doctor").endswith("\n0 problems\n")
    assert _command(tmp_path, "sessions") == "no sessions\n"
    before = set(_files(tmp_path))
    _wrangler(tmp_path, "execute", "DB_B", "--command", "SELECT 1")
    [new] = set(_files(tmp_path)) - before
    command = [sys.executable, "-m", "agents_store_cloudflare", "migrate", "--database", str(new)]
    assert (
        f"0 -> {CURRENT_SCHEMA_VERSION}" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    )
    # The package claims no name that a user's own file may have, so wrangler applies 0001_init.sql once more: it changes nothing.
    _wrangler(tmp_path, "migrations", "apply", "DB_B")
    assert "No migrations to apply" in _wrangler(tmp_path, "migrations", "apply", "DB_B")
    done = subprocess.run([*command[:-3], "doctor", "--database", str(new)], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n0 problems\n")


def _wrangler(persist: Path, *arguments: str) -> str:
    return wrangler("d1", *arguments, "--local", config=MIGRATIONS_WORKER, persist=persist)


def _files(persist: Path) -> list[Path]:
    return [*(persist / "v3/d1/miniflare-D1DatabaseObject").glob("*.sqlite")]
