"""Installs the locked development tools into environments beside `.venv`."""

import subprocess
from pathlib import Path

from tools.places import ROOT, VENV_PYTHON

__all__ = ["DEV_LOCK", "UV", "install_locked_tools"]

DEV_LOCK = ROOT / "requirements-dev.lock"
UV = [str(VENV_PYTHON), "-m", "uv", "--quiet", "--no-progress"]


def install_locked_tools(python: Path) -> None:
    """Install every tool of the lock into the environment of `python`, each file checked against its hash.

    The lock is complete, so nothing is resolved: two frameworks name ranges of one package that no version meets.
    """
    into = ["--python", str(python), "--no-deps", "--require-hashes"]
    subprocess.run([*UV, "pip", "install", *into, "-r", str(DEV_LOCK)], check=True)
