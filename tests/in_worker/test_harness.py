"""The in-worker runner cannot pass silently: a failing test, a test that did not run and a Worker that does not start are failures."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.runtime

HERE = Path(__file__).parent
SUITE = """
import pytest

def test_good():
    assert 1 + 1 == 2

async def test_bad():
    answer = 41
    assert answer == 42

@pytest.mark.skipif("sys.platform != 'emscripten'", reason="only inside")
def test_inside():
    import js
    assert js.fetch
"""


def _run_copy(folder: Path, *, entry: str | None = None) -> str:
    """Return the output of pytest over a copy of this folder with another suite."""
    copy = folder / "in_worker"
    shutil.copytree(HERE / "worker", copy / "worker", ignore=shutil.ignore_patterns("test_*", "__pycache__"))
    shutil.copy(HERE / "conftest.py", copy)
    (copy / "worker/suite/test_it.py").write_text(SUITE)
    if entry is not None:
        (copy / "worker/in_worker_entry.py").write_text(entry)
    options = [
        "-q",
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
        "-o",
        "asyncio_mode=auto",
        "--import-mode=importlib",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", str(copy), *options, str(copy)],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    return done.stdout


def test_failures_inside_are_shown_outside(tmp_path: Path) -> None:
    """Each test has its own result. A failing one has the traceback from inside the Worker."""
    output = _run_copy(tmp_path)
    assert "1 failed, 2 passed" in output
    assert "assert answer == 42" in output
    assert "assert 41 == 42" in output


def test_a_runtime_that_does_not_start_fails_every_test(tmp_path: Path) -> None:
    """If the entry module cannot be imported, each test fails with the reason."""
    output = _run_copy(tmp_path, entry="import no_such_module\n")
    assert "3 failed" in output
    assert "no_such_module" in output
