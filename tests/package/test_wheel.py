"""The built wheel, as a user gets it: in an empty environment, on CPython, without the Workers runtime."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tools.wheel import built_wheel

CHECK = """
import sys
assert not [name for name in ("js", "pyodide", "workers") if name in sys.modules]
import agents_store_cloudflare as package
assert not [name for name in ("js", "pyodide", "workers") if name in sys.modules]
for name in package.__all__:
    if name not in ("StreamServer", "LockServer", "SessionServer"):
        getattr(package, name)
for name in ("StreamServer", "LockServer", "SessionServer"):
    try:
        getattr(package, name)
    except ImportError as error:
        assert "Workers runtime" in str(error), error
    else:
        raise AssertionError(name)
assert "CREATE TABLE" in package.SCHEMA_MIGRATION_V1
import asyncio
from agents_store_cloudflare.testing import LocalObjects, SqliteDatabase

async def main():
    store = package.create_cloudflare_store(
        db=SqliteDatabase(), streams=LocalObjects(package.StreamObject), locks=LocalObjects(package.LockObject)
    )
    await store.migrate()
    state_store, stream_manager = store
    async with store.locks.lock("s") as lock:
        state = package.AgentState(session_id="s", agent_type="x")
        await state_store.save_state("s", state, fencing_token=lock)
        async with stream_manager.create_writer("s", "a", "x") as writer:
            await writer.write({"type": "text"})
    await stream_manager.end_stream("s")
    async with stream_manager.create_reader("s") as reader:
        print([chunk["type"] async for chunk in reader])

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def empty_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that holds the wheel and what it requires."""
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "-qq", str(built_wheel())]
    subprocess.run(install, check=True)
    return python


def test_it_imports_and_works_without_the_runtime(empty_environment: Path) -> None:
    """Every public name is there, the servers say what they need, and an agent's test runs."""
    done = subprocess.run(
        [str(empty_environment), "-I", "-W", "error", "-c", CHECK], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['text']\n"


def test_the_wheel_holds_its_parts() -> None:
    """Durable Objects, migrations and the typing marker are inside the package; tests and tools are not."""
    names = zipfile.ZipFile(built_wheel()).namelist()
    for part in (
        "durable_objects/stream_server.py",
        "durable_objects/lock_server.py",
        "migrations/0001_init.sql",
        "py.typed",
    ):
        assert f"agents_store_cloudflare/{part}" in names
    assert {name.split("/")[0] for name in names} <= {
        "agents_store_cloudflare",
        "agents_store_cloudflare-0.1.0.dist-info",
    }
