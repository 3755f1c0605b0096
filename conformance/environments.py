"""Environments of their own for suites whose framework cannot be installed beside the others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tools.places import ROOT, RUNTIME, fingerprint, out_of_date

__all__ = ["run_alone"]

PACKAGE = ROOT / "build/package"


def run_alone(program: Path, *arguments: str, source: Path | None = None) -> bool:
    """Run a program with what the `requirements.lock` beside it lists, and this package. Return whether it succeeded.

    Args:
        source: a folder whose modules take the place of installed ones.
    """
    lock = program.parent / "requirements.lock"
    installed = RUNTIME / f"conformance-{program.parent.name}"
    python = installed / "venv/bin/python"
    with out_of_date(installed / "stamp", fingerprint(sys.version, paths=[lock])) as is_old:
        if is_old:
            print(f"conformance: installing what {program.parent.name} needs …", flush=True)
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(installed / "venv")], check=True)
            install = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
            subprocess.run([*install, "--require-hashes", "-r", str(lock)], check=True)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [source, PACKAGE] if source else [PACKAGE]))}
    return subprocess.run([str(python), str(program), *arguments], env=environment, check=False).returncode == 0
