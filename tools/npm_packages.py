"""Installs a locked set of npm packages into a folder of its own."""

import shutil
import subprocess
from pathlib import Path

__all__ = ["LOCK_FILES", "install_npm_packages"]

LOCK_FILES = ("package.json", "package-lock.json")


def install_npm_packages(source: Path, folder: Path, *options: str) -> None:
    """Install exactly what a lock names.

    Args:
        source: the folder with the lock.
        folder: gets a copy of the lock, and `node_modules`.
        options: further options of `npm ci`.

    Raises:
        CalledProcessError: npm failed; it has said why.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in LOCK_FILES:
        shutil.copy(source / name, folder / name)
    command = ["npm", "ci", *options, "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(command, cwd=folder, check=True)
