"""The README's installation, as printed, in an empty folder with an empty home."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from agents_store_cloudflare.command.new import FRAMEWORKS
from tools.places import ROOT, VENV_PYTHON

pytestmark = pytest.mark.runtime  # it downloads what a newcomer's machine has to download

README = (ROOT / "README.md").read_text(encoding="utf-8")
COPIED = ("src", "durable_objects", "migrations", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md")
"""What the wheel is built from."""


def _lines() -> list[str]:
    """Return the README's shell lines, without comments."""
    found = re.search(r"<!-- install -->\n```sh\n(.*?)```", README, re.DOTALL)
    assert found is not None, "the README has lost its lines"
    return [line.split(" #")[0].strip() for line in found[1].splitlines()]


def _newcomer(home: Path) -> dict[str, str]:
    """Return the environment of a user who has only uv: an empty home and no active environment."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("VIRTUAL_ENV", "PYTHON", "UV_PROJECT"))
    }
    return {**kept, "HOME": str(home), "PATH": f"{VENV_PYTHON.parent}:/usr/local/bin:/usr/bin:/bin"}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a clone with the files from which the wheel is built."""
    folder = tmp_path / "agents-store-cloudflare"
    folder.mkdir()
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, folder / name)
    return folder


@pytest.mark.parametrize("framework", ["none", *FRAMEWORKS])
def test_before_the_first_release(clone: Path, tmp_path: Path, framework: str) -> None:
    """A clone gives a wheel and a new project. The project's tests pass with this wheel, for each framework."""
    home = tmp_path / "home"
    home.mkdir()
    *install, serve = _lines()
    assert serve == "uv run pywrangler dev", "tests/command/test_new.py serves the project on the local runtime"
    if framework != "none":
        install = [line.replace("--wheel dist", f"--framework {framework} --wheel dist") for line in install]
    done = subprocess.run(
        ["bash", "-euc", "\n".join(install)],
        cwd=clone,
        env=_newcomer(home),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    project = tmp_path / "my-agent"
    assert [path.suffix for path in (project / "wheels").iterdir()] == [".whl"]
    assert list((project / ".venv").glob("lib/*/site-packages/agents_store_cloudflare/__init__.py"))
    assert (project / ".venv" / "bin" / "pywrangler").exists()
