"""`wrangler d1 export` and `execute --file`, on real D1: the same rows in every table, the same triggers and views."""

import asyncio
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agents_store_cloudflare.state import D1StateStore
from agents_store_cloudflare.testing import SqliteDatabase
from tools.local_runtime import wrangler

pytestmark = pytest.mark.runtime

CONFIG = Path(__file__).parent / "migrations_worker" / "wrangler.toml"
TEXT = 'line\nline \\n "quoted" \\r\r\0 it\'s'


def database_file(persist: Path) -> Path:
    [file] = [each for each in persist.glob("v3/d1/*/*.sqlite") if each.name != "metadata.sqlite"]
    return file


def _everything(file: Path) -> dict[str, Any]:
    with closing(sqlite3.connect(file)) as connection:
        objects = connection.execute(
            "SELECT type, name FROM sqlite_master WHERE name LIKE '%__agents%' ORDER BY 1, 2"
        ).fetchall()
        tables = [name for kind, name in objects if kind == "table"]
        return {"objects": objects} | {
            name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in tables
        }


async def _fill(file: Path) -> None:
    store = D1StateStore(SqliteDatabase(file))
    state = await store.create_session("a", agent_type="x\0y", initial_state={"text": TEXT, "big": 2**70})
    state.messages.append({"role": "user", "content": TEXT})
    state.messages.append({"role": "assistant", "content": TEXT})
    state.error, state.status = TEXT, TEXT
    await store.save_checkpoint("a", state, fencing_token=7, commit_id="c1")
    await store.start_run("a", "r1")
    await store.update_run("a", "r1", error=TEXT)
    await store.stage_changes("a", "s1", {"toolCallId": "t1", "mergeChanges": {"k": TEXT}})
    await store.add_sub_session_refs(
        "a", [{"subSessionId": "b", "agentType": TEXT, "status": "running", "location": "local"}]
    )


async def _read(file: Path) -> str:
    state = await D1StateStore(SqliteDatabase(file)).load_state("a", required=True)
    return json.dumps(state.to_dict())


def test_export_and_import(tmp_path: Path) -> None:
    """MG-11: Texts with line breaks beside backslashes, NUL and quotes come back unchanged, and later writes work."""
    source, target, dump = tmp_path / "source", tmp_path / "target", tmp_path / "dump.sql"
    wrangler("d1", "migrations", "apply", "DB_A", "--local", config=CONFIG, persist=source)
    asyncio.run(_fill(database_file(source)))
    # `export` knows no --persist-to: it is given the state where it looks for it.
    wrangler_export(source, dump)
    wrangler("d1", "execute", "DB_A", "--local", "--file", str(dump), config=CONFIG, persist=target)
    assert _everything(database_file(target)) == _everything(database_file(source))
    assert asyncio.run(_read(database_file(target))) == asyncio.run(_read(database_file(source)))


def wrangler_export(source: Path, dump: Path) -> None:
    import subprocess

    from tools.places import NODE_BIN
    from tools.staging import stage
    from tools.wrangler import wrangler_environment

    folder = stage(CONFIG, with_packages=False)
    shutil.copytree(source, folder / ".wrangler" / "state")
    command = [str(NODE_BIN / "wrangler"), "d1", "export", "DB_A", "--local", "--output", str(dump), "-y"]
    command += ["--config", str(folder / "wrangler.json")]
    subprocess.run(command, cwd=folder, env=wrangler_environment(folder), check=True, capture_output=True)
    shutil.rmtree(folder)
