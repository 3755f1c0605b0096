"""Check the files of `make build`: `python -m tools.check_dist dist`.

The wheel is installed alone and imported. The sdist is unpacked, built into a wheel of its own, and its host tests run from the
unpacked folder on that wheel. Both must hold the same package.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

from tools.locked_tools import UV, install_locked_tools
from tools.places import VENV_PYTHON

LEFT_OUT = (
    "--ignore=tests/in_worker",
    "--ignore=tests/end_to_end",
    "--ignore=tests/costs",
    "--ignore=tests/tools",
    "--ignore=tests/docs/test_types_of_pages.py",
    "--ignore=tests/package/test_typing.py",
    "--ignore=tests/package/test_wheel.py",
    "--deselect=tests/docs/test_inherited_docstrings.py::test_an_editor_shows_the_contract",
    "--deselect=tests/package/test_names.py::test_checkers_know_the_late_names",
)
"""Tests of the real runtime, and tests that need what `make setup` installs into the repository."""


def main() -> int:
    folder = Path(sys.argv[1])
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with tempfile.TemporaryDirectory() as scratch:
        check_wheel(wheel, Path(scratch) / "wheel")
        check_sdist(sdist, wheel, Path(scratch))
    print(f"check_dist: {wheel.name} and {sdist.name} are whole", flush=True)
    return 0


def check_wheel(wheel: Path, folder: Path) -> None:
    """Install the wheel into an empty environment and import every seed name."""
    python = _environment(folder)
    subprocess.run([*UV, "pip", "install", "--python", str(python), str(wheel)], check=True)
    code = "from agents_store_cloudflare import *; from agents_store_cloudflare.testing import SqliteDatabase"
    subprocess.run([str(python), "-I", "-W", "error", "-c", code], check=True)


def check_sdist(sdist: Path, wheel: Path, scratch: Path) -> None:
    """Build a wheel from the unpacked sdist, compare it with the wheel, and run the sdist's tests on it."""
    with tarfile.open(sdist) as archive:
        archive.extractall(scratch / "sdist", filter="data")
    (unpacked,) = (scratch / "sdist").iterdir()
    build = [str(VENV_PYTHON), "-m", "build", "--no-isolation", "--wheel", "--outdir", str(scratch / "rebuilt")]
    subprocess.run([*build, str(unpacked)], check=True, stdout=subprocess.DEVNULL)
    (rebuilt,) = (scratch / "rebuilt").glob("*.whl")
    if _content(rebuilt) != _content(wheel):
        raise SystemExit("check_dist: the sdist builds another wheel than the repository")
    python = _environment(scratch / "tests")
    install_locked_tools(python)
    subprocess.run([*UV, "pip", "install", "--python", str(python), "--no-deps", str(rebuilt)], check=True)
    command = [
        str(python),
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "not runtime",
        *LEFT_OUT,
    ]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(command, cwd=unpacked, check=True, env=environment)


def _environment(folder: Path) -> Path:
    venv.create(folder, with_pip=False)
    return folder / "bin" / "python"


def _content(wheel: Path) -> dict[str, int]:
    """Return each file of the package, with its checksum."""
    with zipfile.ZipFile(wheel) as archive:
        return {entry.filename: entry.CRC for entry in archive.infolist() if ".dist-info/" not in entry.filename}


if __name__ == "__main__":
    sys.exit(main())
